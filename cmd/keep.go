package cmd

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

// keeper is what serve-api does beside taking notifications in: it keeps their status, and gives it to whoever asks.
//
//	job topics, status topic ─▶ follower ─▶ recorder ─▶ store ─▶ reader ─▶ API
//	                                                      ▲
//	                                                  retention
type keeper struct {
	*process
	log      *zap.Logger
	store    *statusStore
	recorder *status.Recorder
	reader   *status.Reader
	ends     *kafka.Reader // for the reader's barrier
	commits  *kafka.Reader // for the recorder's group
	tell     teller        // set before the keeper runs
}

func (p *process) newKeeper(log *zap.Logger) (*keeper, error) {
	k := &keeper{process: p, log: log, store: newStatusStore(p.storeConfig(log), log)}
	jobs, topics := map[string]status.JobTopic{}, []string{}
	for _, channel := range p.topics.Channels() {
		for _, lane := range notify.Lanes() {
			name := p.topics.Job(channel, lane)
			jobs[name], topics = status.JobTopic{Channel: channel, Lane: lane}, append(topics, name)
		}
	}
	var err error
	if k.ends, err = kafka.NewReader(p.kafka); err != nil {
		return nil, err
	}
	if k.commits, err = kafka.NewReader(p.kafka); err != nil {
		return nil, err
	}
	follower, err := kafka.NewFollower(p.kafka, p.topics.Recorded(), log)
	if err != nil {
		return nil, err
	}
	p.countSkipped("serve-api", "recorder", follower.Undecodable)
	k.recorder = status.NewRecorder(status.Config{
		Store: k.store, Source: follower, Commit: k.commit, Log: log, Metrics: p.metrics,
		Publish: func(ctx context.Context, g status.Gap) error { return k.tell.publishGap(ctx, g) },
		Reading: status.Reading{Jobs: jobs, StorePayload: p.cfg.Status.StorePayload, ExpiresAfter: lifetimes(p.cfg)},
	})
	k.reader = &status.Reader{Lives: k.store, Barrier: &status.Barrier{
		Ends:      func() ([]kafka.Place, error) { return k.ends.Ends(topics) },
		Positions: k.store.Positions,
	}}
	p.health.add("status store", k.store.Ready)
	return k, nil
}

// parts run below the API, which reads the store.
func (k *keeper) parts() []part {
	return []part{
		{"recorder", k.record},
		{"retention", k.retain},
		{"status store", k.store.Run},
	}
}

// record begins once there is something to read, and where to write it.
func (k *keeper) record(ctx context.Context) error {
	defer k.ends.Close()
	defer k.commits.Close()
	defer context.AfterFunc(ctx, k.commits.Close)()
	r, ok := k.awaitTopics(ctx)
	if !ok {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-k.store.ready:
		return k.recorder.Run(ctx, r.ClusterID)
	}
}

func (k *keeper) commit(at []status.Position) error {
	places := make([]kafka.Place, len(at))
	for i, p := range at {
		places[i] = kafka.Place{Topic: p.Topic, Partition: p.Partition, Offset: p.Next}
	}
	return k.commits.Commit(k.topics.RecorderGroup(), places)
}

// retain removes what is older than it should be. The process that records does so for all.
func (k *keeper) retain(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !k.recorder.Recording() {
			continue
		}
		n, err := k.store.Retain(ctx, time.Now().Add(-k.cfg.Status.Retention))
		switch {
		case err != nil && ctx.Err() == nil:
			k.log.Warn("notifications that are older than status.retention are still there; trying again in an hour", zap.Error(err))
		case n > 0:
			k.log.Info("notifications older than status.retention were removed from the status store", zap.Int("count", n))
		}
	}
}
