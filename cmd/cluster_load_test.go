package cmd

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// clusterRate is how many letters a second are posted, whatever becomes of those before.
const clusterRate = 60

// stream posts letters at a steady rate until the function it gives is called, which waits for the answers.
func (p *post) stream(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}, Timeout: 30 * time.Second}
	var calls sync.WaitGroup
	calls.Go(func() {
		tick := time.NewTicker(time.Second / clusterRate)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				calls.Go(func() { p.write(client, p.draw(n%postCallers)) })
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); calls.Wait(); client.CloseIdleConnections() })
	t.Cleanup(stop)
	return stop
}

// topicOf is the topic of a lane's jobs.
func (c *cluster) topicOf(lane notify.Lane) string {
	if lane == notify.LaneNormal {
		return c.prefix + "sms_topic"
	}
	return c.prefix + "sms_topic." + string(lane)
}

// groupOf is the group of a lane's workers.
func (c *cluster) groupOf(lane notify.Lane) string {
	return c.prefix + "laudspeaker.sms." + string(lane)
}

// claimOf is the partition that a letter goes to.
func (c *cluster) claimOf(l *letter) string {
	topic, partitions := c.topicOf(l.lane), clusterPartitions
	if grown, ok := c.grown[topic]; ok && l.posted.After(grown) {
		c.events.mu.Lock()
		defer c.events.mu.Unlock()
		return c.events.claims[l.number] // it depends on when each process has noticed
	}
	return fmt.Sprintf("%s/%d", topic, kafka.Home([]byte(l.key))%int32(partitions))
}

// lettersOf gives those that were posted within the span, by their partition.
func (c *cluster) lettersOf(s span) map[string][]*letter {
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	all := map[string][]*letter{}
	for _, l := range c.load.letters {
		if l.posted.After(s.from) && l.posted.Before(s.until) {
			claim := c.claimOf(l)
			all[claim] = append(all[claim], l)
		}
	}
	return all
}

// partitionOf is the number at the end of a claim.
func partitionOf(claim string) (n int) {
	_, _ = fmt.Sscan(claim[strings.LastIndex(claim, "/")+1:], &n)
	return n
}
