package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The one process with its own broker, killed while it is busy with a provider on a bad day. It needs no Kafka.
func TestChaosAll(t *testing.T) {
	c := newRun(t, badDay())
	dir, address := t.TempDir(), freeAddress("127.0.0.1")
	c.fleet = &fleet{t: t, brokers: freeAddress("127.0.0.1"), dir: dir}
	file := filepath.Join(dir, "laudspeaker.yaml")
	require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`
kafka: {delay_tiers: [200ms, 1s, 5s], embedded: {listen: '%s'}}
admin: {listen: '127.0.0.1:0'}
api: {listen: '%s'}
data_dir: '%s/data'
%s`, c.brokers, address, dir, c.provider.section())), 0o600))
	boot := func() *child {
		c.spawned++
		name := fmt.Sprintf("all%d", c.spawned)
		p := launch(t, dir, name, "all", "--config", file, "--set", "gateways.texts.auth_token="+name)
		p.awaitLine("Ready. API http", time.Minute)
		return p
	}
	p := boot()
	c.follow("http://" + address)
	c.load.most.Store(1000)
	c.workers = []*child{p}
	c.stop = c.load.background(t)
	var slowest time.Duration
	kills := max(2, c.kills/3)
	for range kills {
		c.awaitBusy()
		from := time.Now()
		p.kill()
		c.struck("kill "+p.name, from, p.name)
		p = boot()
		slowest = max(slowest, time.Since(from))
		c.workers[0] = p
	}
	c.awaitBusy()
	c.letters /= 2 // of one process and a broker that writes every batch to the disk
	c.awaitLetters()
	c.stop()
	c.awaitEnds(2 * time.Minute)
	c.judged(fmt.Sprintf("%d kills, ready again within %s", kills, slowest.Round(10*time.Millisecond)))
	p.term()
}
