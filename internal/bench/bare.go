package bench

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// bareSettings are those of the bare server and of the bare consumer.
type bareSettings struct {
	Brokers    []string       `json:"brokers"`
	Topic      string         `json:"topic"`
	Partitions int            `json:"partitions"`
	Direct     directSettings `json:"direct"` // of the consumer
}

// bareNotification is what the bare server reads of a request: it decodes, and checks nothing.
type bareNotification struct {
	Channel   string          `json:"channel"`
	Recipient string          `json:"recipient"`
	Payload   json.RawMessage `json:"payload"`
}

// saramaConfig is an idempotent producer with acks=all, and otherwise Sarama's defaults.
func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "laudspeaker-bench"
	c.Version = sarama.V2_8_0_0
	c.Metadata.AllowAutoTopicCreation = false
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Net.MaxOpenRequests = 1 // what idempotence needs
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

// bareServer accepts notifications with the least code: net/http, json.Unmarshal, one send.
type bareServer struct {
	topic    string
	producer sarama.SyncProducer
}

// runBare serves until the run ends.
func runBare(ctx context.Context, s bareSettings, p *parent) error {
	if err := makeTopic(s); err != nil {
		return err
	}
	producer, err := sarama.NewSyncProducer(s.Brokers, saramaConfig())
	if err != nil {
		return err
	}
	defer producer.Close()
	b := &bareServer{s.Topic, producer}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/notifications", b.one)
	mux.HandleFunc("POST /v1/notifications/batch", b.batch)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := p.tell(addresses{Address: "http://" + l.Addr().String()}); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// makeTopic creates the topic, which must not exist, and waits until all of its partitions have a leader.
func makeTopic(s bareSettings) error {
	client, err := sarama.NewClient(s.Brokers, saramaConfig())
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		client.Close()
		return err
	}
	defer admin.Close()
	if err := admin.CreateTopic(s.Topic, &sarama.TopicDetail{NumPartitions: int32(s.Partitions), ReplicationFactor: -1}, false); err != nil {
		return err
	}
	for range 100 {
		_ = client.RefreshMetadata(s.Topic) // the next line sees whether it was of use
		if led, _ := client.WritablePartitions(s.Topic); len(led) == s.Partitions {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the topic " + s.Topic + " has partitions without a leader")
}

func (b *bareServer) record(n *bareNotification, value []byte) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: b.topic, Key: sarama.StringEncoder(n.Recipient), Value: sarama.ByteEncoder(value)}
}

func (b *bareServer) one(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var n bareNotification
	if err == nil {
		err = json.Unmarshal(body, &n)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, _, err := b.producer.SendMessage(b.record(&n, body)); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	reply(w, http.StatusAccepted, `{"state":"queued"}`)
}

func (b *bareServer) batch(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var all struct {
		Notifications []json.RawMessage `json:"notifications"`
	}
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	records := make([]*sarama.ProducerMessage, len(all.Notifications))
	for i, raw := range all.Notifications {
		var n bareNotification
		if err == nil {
			err = json.Unmarshal(raw, &n)
		}
		records[i] = b.record(&n, raw)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := b.producer.SendMessages(records); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	reply(w, http.StatusOK, `{"results":[`+strings.TrimSuffix(strings.Repeat(`{"status":202},`, len(records)), ",")+`]}`)
}

// runConsume reads the topic of the bare server, and calls the library of the gateway for each message.
func runConsume(ctx context.Context, s bareSettings, p *parent) error {
	d, err := newDirect(s.Direct)
	if err != nil {
		return err
	}
	defer d.close()
	consumer, err := sarama.NewConsumer(s.Brokers, saramaConfig())
	if err != nil {
		return err
	}
	defer consumer.Close()
	work := make(chan message)
	for range s.Direct.InFlight {
		go func() {
			for m := range work {
				_ = d.send(ctx, m) // the audit sees what is missing
			}
		}()
	}
	for partition := range s.Partitions {
		reader, err := consumer.ConsumePartition(s.Topic, int32(partition), sarama.OffsetOldest)
		if err != nil {
			return err
		}
		defer reader.AsyncClose()
		go func() {
			for record := range reader.Messages() {
				var n bareNotification
				if json.Unmarshal(record.Value, &n) == nil {
					work <- message{channel: n.Channel, number: numberIn(record.Value), size: s.Direct.Size}
				}
			}
		}()
	}
	if err := p.tell(addresses{}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// dropTopics deletes the topics and the groups that begin with prefix.
func dropTopics(brokers []string, prefix string) error {
	admin, err := sarama.NewClusterAdmin(brokers, saramaConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	topics, err := admin.ListTopics()
	if err != nil {
		return err
	}
	var faults []error
	for name := range topics {
		if strings.HasPrefix(name, prefix) {
			faults = append(faults, admin.DeleteTopic(name))
		}
	}
	groups, err := admin.ListConsumerGroups()
	faults = append(faults, err)
	for name := range groups {
		if strings.HasPrefix(name, prefix) {
			faults = append(faults, admin.DeleteConsumerGroup(name))
		}
	}
	return errors.Join(faults...)
}

// recordsOn returns how many records a topic holds.
func recordsOn(brokers []string, topic string) (n int, err error) {
	client, err := sarama.NewClient(brokers, saramaConfig())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	partitions, err := client.Partitions(topic)
	for _, p := range partitions {
		newest, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return 0, err
		}
		oldest, err := client.GetOffset(topic, p, sarama.OffsetOldest)
		if err != nil {
			return 0, err
		}
		n += int(newest - oldest)
	}
	return n, err
}
