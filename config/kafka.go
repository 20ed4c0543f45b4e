package config

import "time"

// Kafka is the section of the bus.
type Kafka struct {
	Brokers          []string      `yaml:"brokers" doc:"Addresses to start from, host:port. Empty: the role all starts its embedded broker; other roles need them." example:"[kafka-1:9092, kafka-2:9092]"`
	Prefix           string        `yaml:"prefix" doc:"Goes before every topic and group, to share a cluster." example:"staging."`
	TLS              KafkaTLS      `yaml:"tls" doc:"Encryption to the brokers."`
	SASL             SASL          `yaml:"sasl" doc:"User and password at the brokers."`
	Partitions       int           `yaml:"partitions" default:"12" doc:"Partitions of new topics. Partitions added later are used within 30 s; the order of a key may break once."`
	Replication      int           `yaml:"replication" default:"0" doc:"Replicas of new topics; 0 leaves it to the brokers."`
	CreateTopics     bool          `yaml:"create_topics" default:"true" doc:"Makes missing topics at the start. false: they are listed, see: laudspeaker topics."`
	InstanceID       string        `yaml:"instance_id" doc:"Static membership: a name for this process that stays over restarts. A worker that is back within session_timeout keeps its partitions, and the others do not stop. In a StatefulSet set LAUDSPEAKER_KAFKA_INSTANCE_ID to the name of the pod (fieldRef metadata.name). Two processes that run at the same time must never have the same name: Kafka shuts one of them out. A Deployment's pods have new names after each restart, and their partitions then wait for session_timeout: leave it empty there."`
	SessionTimeout   time.Duration `yaml:"session_timeout" default:"6s" doc:"A worker that is silent for longer loses its partitions. Where it is not set and the brokers refuse 6s (group.min.session.timeout.ms), 10s is used. Raise it on slow networks. Heartbeats are sent six times as often."`
	Drain            time.Duration `yaml:"drain" default:"10s" doc:"How long attempts that have begun may go on at a shutdown or rebalance."`
	RebalanceTimeout time.Duration `yaml:"rebalance_timeout" default:"20s" doc:"How long a rebalance waits for a worker. Longer than drain."`
	ReadTimeout      time.Duration `yaml:"read_timeout" default:"45s" doc:"How long the answer to a join may take. Longer than rebalance_timeout, because a broker answers a join only when the rebalance is over. Other requests are given up after 2 to 5 s without an answer."`
	DelayTiers       []string      `yaml:"delay_tiers" default:"5s,30s,3m,20m,2h,12h,72h" doc:"Tiers of the delay ladder, in which messages wait that are to be sent or tried again later: a topic each, for each channel, and for lane urgent topics of its own up to 30s. Leave it alone. Workers go on reading the topics of a tier that is removed, and warn at the start, until these topics are deleted."`
	Embedded         Embedded      `yaml:"embedded" doc:"The broker that the role all brings when brokers is empty. It is durable and for one host only."`
}

// KafkaTLS is the section of encryption to the brokers.
type KafkaTLS struct {
	Enabled    bool   `yaml:"enabled" default:"false" doc:"Encrypts with the system's CAs; any key below also turns it on."`
	CAFile     string `yaml:"ca_file" doc:"PEM file with the brokers' CA; empty takes the system's."`
	CertFile   string `yaml:"cert_file" doc:"PEM file with our certificate, where brokers ask for one."`
	KeyFile    string `yaml:"key_file" doc:"PEM file with the key of our certificate."`
	ServerName string `yaml:"server_name" doc:"Name in the brokers' certificates, when it is not the one we dial."`
}

// On reports whether connections are encrypted.
func (t KafkaTLS) On() bool { return t != KafkaTLS{} }

// SASL is the section of authentication at the brokers.
type SASL struct {
	Mechanism string `yaml:"mechanism" enum:",plain,scram-sha-256,scram-sha-512" doc:"plain, scram-sha-256 or scram-sha-512; empty: none. plain needs TLS unless the brokers are on loopback."`
	Username  string `yaml:"username" doc:"User name."`
	Password  Secret `yaml:"password" doc:"Password."`
}

// Embedded is the section of the embedded broker.
type Embedded struct {
	Listen     string `yaml:"listen" default:"127.0.0.1:9092" doc:"Address of the embedded broker; loopback, since it asks nobody who they are."`
	Partitions int    `yaml:"partitions" default:"2" doc:"Partitions of its topics. Each costs a write to disk for every batch."`
	MaxBytes   Size   `yaml:"max_bytes" default:"1GiB" doc:"All topics together. What is finished goes first; then the API answers 503. A restart reads them into memory."`
}

// Tiers are the steps of the delay ladder; what is no duration, which is a fault of its own, is left out.
func (k Kafka) Tiers() []time.Duration {
	var tiers []time.Duration
	for _, text := range k.DelayTiers {
		if d, err := time.ParseDuration(text); err == nil {
			tiers = append(tiers, d)
		}
	}
	return tiers
}
