package kafka

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// What topics must be set to so that Kafka keeps what it has acknowledged until it is processed.

const (
	consumerOffsets = "__consumer_offsets" // holds the commits, and with them what is done

	maxMessageBytes  = "max.message.bytes"
	retentionMs      = "retention.ms"
	retentionBytes   = "retention.bytes"
	cleanupPolicy    = "cleanup.policy"
	timestampType    = "message.timestamp.type"
	uncleanElection  = "unclean.leader.election.enable"
	minInsync        = "min.insync.replicas"
	safeReplication  = 3 // with min.insync.replicas 2 one broker may fail and acknowledged records have two copies
	safeMinInsync    = 2
	defaultReplicas  = "default.replication.factor"
	noRetentionBytes = "-1"
)

// fault is what is wrong with one topic.
type fault struct {
	topic    string
	problems []string
	set      map[string]string // what kafka-configs.sh has to set
	reassign string            // what kafka-reassign-partitions.sh has to be given
}

func (f *fault) add(setting, value, format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
	if setting != "" {
		f.set[setting] = value
	}
}

// sentence gives the problems and the commands that end them; the empty string without problems.
func (f *fault) sentence() string {
	if len(f.problems) == 0 {
		return ""
	}
	s := "topic " + f.topic + ": " + strings.Join(f.problems, "; ") + ". Fix it with"
	if len(f.set) > 0 {
		var set []string
		for _, k := range slices.Sorted(maps.Keys(f.set)) {
			set = append(set, k+"="+f.set[k])
		}
		s += fmt.Sprintf(` kafka-configs.sh --bootstrap-server "$BOOTSTRAP" --alter --entity-type topics --entity-name %s --add-config %s`, f.topic, strings.Join(set, ","))
	}
	if f.reassign != "" {
		if len(f.set) > 0 {
			s += " and"
		}
		s += fmt.Sprintf(` echo '%s' > reassign.json; kafka-reassign-partitions.sh --bootstrap-server "$BOOTSTRAP" --reassignment-json-file reassign.json --execute`, f.reassign)
	}
	return s
}

// check names what the topics have too little of, in one sentence for each topic. Settings that a broker does not name are
// not checked.
func (a *admin) check(r *Report, specs, existing []TopicSpec) error {
	brokers, replicas, err := a.replicas(specs)
	if err != nil {
		return err
	}
	if _, there := replicas[consumerOffsets]; there {
		offsets := TopicSpec{Name: consumerOffsets, Config: map[string]string{cleanupPolicy: "compact"}}
		specs, existing = append(slices.Clip(specs), offsets), append(slices.Clip(existing), offsets)
	}
	settings, err := a.settings(existing)
	if err != nil {
		return err
	}
	for _, s := range specs {
		f := &fault{topic: s.Name, set: map[string]string{}}
		if slices.ContainsFunc(existing, func(e TopicSpec) bool { return e.Name == s.Name }) {
			has := settings[s.Name]
			if has == nil && s.Name != consumerOffsets {
				r.Faults = append(r.Faults, fmt.Sprintf("topic %s: its settings cannot be read: check max.message.bytes and retention.ms by hand, or allow DescribeConfigs", s.Name))
			}
			r.compare(f, s, has, copies(replicas[s.Name]))
		}
		f.replication(brokers, replicas[s.Name])
		if sentence := f.sentence(); sentence != "" {
			r.Faults = append(r.Faults, sentence)
		}
	}
	return nil
}

// settings gives the settings of the topics, without those that cannot be read.
func (a *admin) settings(specs []TopicSpec) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	if len(specs) == 0 {
		return all, nil
	}
	resources := make([]*sarama.ConfigResource, len(specs))
	for i, s := range specs {
		resources[i] = &sarama.ConfigResource{Type: sarama.TopicResource, Name: s.Name}
	}
	results, err := a.admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w: ask for the topics' settings: %w", ErrUnavailable, err)
	}
	for _, res := range results {
		if res.ErrorCode != sarama.ErrNoError {
			continue
		}
		has := map[string]string{}
		for _, e := range res.Configs {
			has[e.Name] = e.Value
		}
		all[res.Name] = has
	}
	return all, nil
}

// replicas gives the ids of the brokers, and the replicas of each partition of the topics and of the topic of commits where
// there is one that may be seen.
func (a *admin) replicas(specs []TopicSpec) (brokers []int32, of map[string]map[int32][]int32, err error) {
	names := make([]string, len(specs), len(specs)+1)
	for i, s := range specs {
		names[i] = s.Name
	}
	broker, err := a.client.Controller()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	meta, err := broker.GetMetadata(sarama.NewMetadataRequest(a.client.Config().Version, append(names, consumerOffsets)))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: ask for the replicas: %w", ErrUnavailable, err)
	}
	for _, b := range meta.Brokers {
		brokers = append(brokers, b.ID())
	}
	slices.Sort(brokers)
	of = map[string]map[int32][]int32{}
	for _, t := range meta.Topics {
		if len(t.Partitions) == 0 {
			continue
		}
		of[t.Name] = map[int32][]int32{}
		for _, p := range t.Partitions {
			of[t.Name][p.ID] = p.Replicas
		}
	}
	return brokers, of, nil
}

// copies is how many replicas the partition has that has fewest.
func copies(partitions map[int32][]int32) int {
	least := 0
	for _, replicas := range partitions {
		if least == 0 || len(replicas) < least {
			least = len(replicas)
		}
	}
	return least
}

func (r *Report) compare(f *fault, s TopicSpec, has map[string]string, copies int) {
	if n, err := strconv.Atoi(has[maxMessageBytes]); err == nil && s.Name != consumerOffsets {
		r.lower(n)
		if n < s.MaxMessageBytes {
			f.add(maxMessageBytes, strconv.Itoa(s.MaxMessageBytes), "%s is %d, less than the %d that api.max_body needs: until it is raised larger notifications are refused",
				maxMessageBytes, n, s.MaxMessageBytes)
		}
	}
	if want, has := wantedPolicy(s), has[cleanupPolicy]; has != "" && has != want {
		f.add(cleanupPolicy, want, "%s is %s and must be %s", cleanupPolicy, has, want)
	}
	if want, has := s.Config[timestampType], has[timestampType]; want != "" && has != "" && has != want {
		f.add(timestampType, want, "%s is %s and must be %s", timestampType, has, want)
	}
	if wantedPolicy(s) == "delete" {
		f.retention(s, has)
	}
	if has[uncleanElection] == "true" {
		f.add(uncleanElection, "false", "%s is true: a broker that lags behind may become the leader, and what it lacks is lost although it was acknowledged", uncleanElection)
	}
	if n, err := strconv.Atoi(has[minInsync]); err == nil && n < safeMinInsync && copies >= safeReplication {
		f.add(minInsync, strconv.Itoa(safeMinInsync), "%s is %d: what only one broker has is acknowledged, and is lost with it", minInsync, n)
	}
}

func (f *fault) retention(s TopicSpec, has map[string]string) {
	if ms, err := strconv.ParseInt(has[retentionMs], 10, 64); err == nil && ms >= 0 && ms < s.Retention.Milliseconds() {
		f.add(retentionMs, strconv.FormatInt(s.Retention.Milliseconds(), 10), "%s is %d (%s), less than the %d (%s) that it should be: what waits longer is lost",
			retentionMs, ms, time.Duration(ms)*time.Millisecond, s.Retention.Milliseconds(), s.Retention)
	}
	if n, err := strconv.ParseInt(has[retentionBytes], 10, 64); err == nil && n >= 0 {
		f.add(retentionBytes, noRetentionBytes, "%s is %d: a partition that grows beyond it loses its oldest records, processed or not", retentionBytes, n)
	}
}

func wantedPolicy(s TopicSpec) string {
	if p := s.Config[cleanupPolicy]; p != "" {
		return p
	}
	return "delete"
}

// replication finds partitions with fewer than three replicas where there are brokers for three.
func (f *fault) replication(brokers []int32, partitions map[int32][]int32) {
	least := copies(partitions)
	if least == 0 || least >= safeReplication || len(brokers) < safeReplication {
		return
	}
	f.add("", "", "it has %d of the %d replicas that %d brokers allow", least, safeReplication, len(brokers))
	f.reassign = reassignment(f.topic, brokers, partitions)
}

// reassignment is the input of kafka-reassign-partitions.sh that gives each partition three replicas. Those that it has stay.
func reassignment(topic string, brokers []int32, partitions map[int32][]int32) string {
	type assignment struct {
		Topic     string  `json:"topic"`
		Partition int32   `json:"partition"`
		Replicas  []int32 `json:"replicas"`
	}
	plan := struct {
		Version    int          `json:"version"`
		Partitions []assignment `json:"partitions"`
	}{Version: 1}
	for _, p := range slices.Sorted(maps.Keys(partitions)) {
		replicas := slices.Clone(partitions[p])
		for i := range brokers {
			next := brokers[(int(p)+i)%len(brokers)]
			if len(replicas) < safeReplication && !slices.Contains(replicas, next) {
				replicas = append(replicas, next)
			}
		}
		plan.Partitions = append(plan.Partitions, assignment{topic, p, replicas})
	}
	text, _ := json.Marshal(plan) // names and numbers
	return string(text)
}

// safety gives the settings that keep acknowledged records, for a topic with that many replicas.
func safety(replicas int) map[string]string {
	c := map[string]string{retentionBytes: noRetentionBytes, uncleanElection: "false"}
	if replicas >= safeReplication {
		c[minInsync] = strconv.Itoa(safeMinInsync)
	}
	return c
}

// replicasByDefault is how many replicas a topic gets for which none are asked; 0 when the brokers do not say.
func (a *admin) replicasByDefault() int {
	broker, err := a.client.Controller()
	if err != nil {
		return 0
	}
	results, err := a.admin.DescribeConfigs([]*sarama.ConfigResource{{
		Type: sarama.BrokerResource, Name: strconv.Itoa(int(broker.ID())), ConfigNames: []string{defaultReplicas},
	}}, sarama.DescribeConfigsOptions{})
	if err != nil {
		return 0
	}
	for _, r := range results {
		for _, e := range r.Configs {
			if n, err := strconv.Atoi(e.Value); err == nil && e.Name == defaultReplicas {
				return n
			}
		}
	}
	return 0
}

// refusedSettings reports whether a broker may have refused a topic for a setting that it does not know or does not allow.
func refusedSettings(err error) bool {
	return errors.Is(err, sarama.ErrInvalidConfig) || errors.Is(err, sarama.ErrPolicyViolation)
}
