package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// TopicSpec is a topic as it should be.
type TopicSpec struct {
	Name            string
	Partitions      int
	Replication     int               // 0 = the brokers' default
	MaxMessageBytes int               // 0 = the brokers' default
	Retention       time.Duration     // 0 = the brokers' default
	Config          map[string]string // further settings, such as cleanup.policy
}

// configs gives the topic's settings by their names in Kafka.
func (s TopicSpec) configs() map[string]string {
	c := s.required()
	maps.Copy(c, safety(s.Replication))
	return c
}

// required gives those without which the topic is of no use.
func (s TopicSpec) required() map[string]string {
	c := maps.Clone(s.Config)
	if c == nil {
		c = map[string]string{}
	}
	if s.MaxMessageBytes > 0 {
		c[maxMessageBytes] = strconv.Itoa(s.MaxMessageBytes)
	}
	if s.Retention > 0 {
		c[retentionMs] = strconv.FormatInt(s.Retention.Milliseconds(), 10)
	}
	return c
}

// Report is what [Ensure] has found.
type Report struct {
	ClusterID       string
	Created         []string         // topics that were missing
	Partitions      map[string]int32 // of each topic
	Existing        []string         // all topics of the cluster that we may see, ours and others
	MaxMessageBytes int              // the smallest of the topics'; 0 when none could be read
	Faults          []string         // sentences: what is wrong with topics that exist, and what to do
}

// MissingTopicsError names the topics that are not there and must not be made.
type MissingTopicsError struct{ Topics []string }

func (e *MissingTopicsError) Error() string {
	return fmt.Sprintf("topics are missing: %s; create them (laudspeaker topics prints how) or set kafka.create_topics: true",
		strings.Join(e.Topics, ", "))
}

// Ensure compares the topics of a cluster with specs. It makes those that are missing or, without create, fails with a
// [*MissingTopicsError]; it never changes one that exists. Several processes may do so at once. An unreachable Kafka is an
// error that errors.Is [ErrUnavailable]: when to try again is the caller's business.
func Ensure(ctx context.Context, cfg Config, specs []TopicSpec, create bool) (Report, error) {
	a, err := openAdmin(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer a.close()
	r := Report{Partitions: map[string]int32{}}
	existing, err := a.describe(&r, specs)
	if err != nil {
		return Report{}, err
	}
	if err := a.createMissing(ctx, &r, specs, create); err != nil {
		return r, err
	}
	if err := a.awaitKnown(ctx, specs); err != nil {
		return r, err
	}
	if err := a.names(&r); err != nil {
		return r, err
	}
	return r, a.check(&r, specs, existing)
}

type admin struct {
	client sarama.Client
	admin  sarama.ClusterAdmin
}

func openAdmin(ctx context.Context, cfg Config) (*admin, error) {
	conf, err := cfg.commits()
	if err != nil {
		return nil, err
	}
	conf.Net.ReadTimeout = 15 * time.Second // above Admin.Timeout
	conf.Admin.Timeout = 10 * time.Second
	conf.Metadata.Full = true // without it nobody looks up the controller
	bound(ctx, conf, cfg.Brokers)
	if err := cfg.reach(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	client, err := sarama.NewClient(cfg.Brokers, conf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	a, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return &admin{client, a}, nil
}

func (a *admin) close() { _ = a.admin.Close() } // the client with it

// describe fills in the cluster's id and the partitions, and gives the specs of the topics that exist.
func (a *admin) describe(r *Report, specs []TopicSpec) ([]TopicSpec, error) {
	broker, err := a.client.Controller()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	meta, err := broker.GetMetadata(sarama.NewMetadataRequest(a.client.Config().Version, names))
	if err != nil {
		return nil, fmt.Errorf("%w: ask for the topics: %w", ErrUnavailable, err)
	}
	if meta.ClusterID != nil {
		r.ClusterID = *meta.ClusterID
	}
	for _, t := range meta.Topics {
		switch {
		case errors.Is(t.Err, sarama.ErrUnknownTopicOrPartition):
		case errors.Is(t.Err, sarama.ErrNoError), errors.Is(t.Err, sarama.ErrLeaderNotAvailable):
			r.Partitions[t.Name] = int32(len(t.Partitions))
		default:
			return nil, fmt.Errorf("kafka: topic %s: %w", t.Name, t.Err)
		}
	}
	return slices.DeleteFunc(slices.Clone(specs), func(s TopicSpec) bool {
		_, ok := r.Partitions[s.Name]
		return !ok
	}), nil
}

func (a *admin) createMissing(ctx context.Context, r *Report, specs []TopicSpec, create bool) error {
	var missing []string
	for _, s := range specs {
		if _, ok := r.Partitions[s.Name]; ok {
			continue
		}
		if !create {
			missing = append(missing, s.Name)
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.create(s); err != nil {
			return err
		}
		r.Created = append(r.Created, s.Name)
		r.Partitions[s.Name] = int32(s.Partitions)
		r.lower(s.MaxMessageBytes)
	}
	if len(missing) > 0 {
		return &MissingTopicsError{missing}
	}
	return nil
}

// awaitKnown returns once every broker that answers knows all topics. A broker learns of a new topic a moment after the
// controller has made it, and until then refuses what is published to it.
func (a *admin) awaitKnown(ctx context.Context, specs []TopicSpec) error {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, b := range a.client.Brokers() {
		for {
			unknown, err := a.unknown(b.ID(), names)
			if err != nil || unknown == "" {
				break // who does not answer is not waited for
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%w: broker %s does not know topic %s yet", ErrUnavailable, b.Addr(), unknown)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// unknown names a topic that the broker cannot tell the leaders of.
func (a *admin) unknown(id int32, names []string) (string, error) {
	broker, err := a.client.Broker(id)
	if err != nil {
		return "", err
	}
	meta, err := broker.GetMetadata(sarama.NewMetadataRequest(a.client.Config().Version, names))
	if err != nil {
		return "", err
	}
	for _, t := range meta.Topics {
		if errors.Is(t.Err, sarama.ErrUnknownTopicOrPartition) || len(t.Partitions) == 0 {
			return t.Name, nil
		}
	}
	return "", nil
}

// create makes a topic; that another process has made it meanwhile is no error. Where the brokers do not take the settings
// that keep acknowledged records, it is made without them.
func (a *admin) create(s TopicSpec) error {
	replicas := s.Replication
	if replicas == 0 {
		replicas = a.replicasByDefault()
	}
	settings := s.required()
	maps.Copy(settings, safety(replicas))
	err := a.createWith(s, settings)
	if refusedSettings(err) {
		err = a.createWith(s, s.required())
	}
	switch {
	case err == nil, errors.Is(err, sarama.ErrTopicAlreadyExists):
		return nil
	case errors.Is(err, sarama.ErrInvalidReplicationFactor):
		return fmt.Errorf("kafka: create topic %s: kafka.replication (%d) is more than there are brokers: %w", s.Name, s.Replication, err)
	default:
		return fmt.Errorf("kafka: create topic %s: %w", s.Name, err)
	}
}

func (a *admin) createWith(s TopicSpec, settings map[string]string) error {
	d := &sarama.TopicDetail{NumPartitions: int32(s.Partitions), ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	if s.Replication > 0 {
		d.ReplicationFactor = int16(s.Replication)
	}
	for k, v := range settings {
		d.ConfigEntries[k] = &v
	}
	return a.admin.CreateTopic(s.Name, d, false)
}

func (r *Report) lower(maxMessageBytes int) {
	if maxMessageBytes > 0 && (r.MaxMessageBytes == 0 || maxMessageBytes < r.MaxMessageBytes) {
		r.MaxMessageBytes = maxMessageBytes
	}
}
