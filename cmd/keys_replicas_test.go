package cmd

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/dispatcher"
	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status/store"
	"github.com/laudspeaker/laudspeaker/internal/validate"
	"github.com/laudspeaker/laudspeaker/producer"
)

// mortal is one replica of the API. It dies in the midst of a call to the store or the bus, before or after that has been
// carried out, and nobody hears of it again.
type mortal struct {
	server *httptest.Server
	store  *store.Store
	log    *publications
	left   atomic.Int64 // calls until its death
	after  bool         // it dies once the last of them has been carried out
}

var errDead = errors.New("this replica is dead")

// last counts a call: whether it may be carried out, and whether anybody hears of it.
func (m *mortal) last() (carriedOut, heard bool) {
	left := m.left.Add(-1)
	return left > 0 || left == 0 && m.after, left > 0
}

func (m *mortal) Claim(ctx context.Context, claims []notify.Claim) (claimed []notify.Claimed, err error) {
	carriedOut, heard := m.last()
	if carriedOut {
		claimed, err = m.store.Claim(ctx, claims)
	}
	if !heard {
		return nil, errDead
	}
	return claimed, err
}

func (m *mortal) Settle(ctx context.Context, settled []notify.Settlement) (err error) {
	carriedOut, heard := m.last()
	if carriedOut {
		err = m.store.Settle(ctx, settled)
	}
	if !heard {
		return errDead
	}
	return err
}

func (m *mortal) PublishAll(_ context.Context, ms []kafka.Message) []error {
	carriedOut, heard := m.last()
	errs := make([]error, len(ms))
	for i, message := range ms {
		if carriedOut {
			errs[i] = m.log.publish(message)
		}
		if !heard {
			errs[i] = errDead
		}
	}
	return errs
}

// wrap leaves the caller without an answer once the replica is dead.
func (m *mortal) wrap(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if m.left.Load() > 0 {
			api.ServeHTTP(answer, r)
		}
		if m.left.Load() <= 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
}

// publications is the log: the ids under which something was published, by reference. Some publications fail, of which
// half are on the log all the same.
type publications struct {
	mu     sync.Mutex
	random *rand.Rand
	ids    map[string]map[string]int
}

func (p *publications) publish(m kafka.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	fate := p.random.IntN(6)
	if fate == 0 {
		return kafka.ErrUnavailable
	}
	var n notify.Notification
	if err := json.Unmarshal(m.Value, &n); err != nil {
		return err
	}
	if p.ids[n.Reference] == nil {
		p.ids[n.Reference] = map[string]int{}
	}
	p.ids[n.Reference][n.ID]++
	if fate == 1 {
		return kafka.ErrUnavailable
	}
	return nil
}

func birth(t *testing.T, c store.Config, log *publications) *mortal {
	return birthWith(t, c, log, producer.Timeouts{Dispatch: 300 * time.Millisecond, Claim: 500 * time.Millisecond})
}

func birthWith(t *testing.T, c store.Config, log *publications, timeouts producer.Timeouts) *mortal {
	m := &mortal{log: log}
	m.left.Store(1 << 40)
	var err error
	m.store, err = store.Open(t.Context(), c)
	require.NoError(t, err)
	api, err := producer.New(producer.Config{
		Dispatcher: dispatcher.New(dispatcher.Config{
			Topics:    dispatcher.Topics{Jobs: map[notify.Channel]string{notify.ChannelSMS: "sms_topic"}},
			Rules:     validate.Rules{DefaultFrom: map[notify.Channel]bool{notify.ChannelSMS: true}},
			Publisher: m,
		}),
		Idempotency: m, IDs: m.store, Timeouts: timeouts,
	})
	require.NoError(t, err)
	m.server = httptest.NewServer(m.wrap(api))
	return m
}

func (m *mortal) bury() {
	m.server.Close()
	m.store.Close()
}

// TestOneKeyOneID: 64 clients submit the same under the same key to three replicas, of which one is killed at random, and
// repeat it until they are told that it was accepted. All hear of one id, and nothing is published under another.
func TestOneKeyOneID(t *testing.T) {
	const clients = 64
	rounds := 12 * scale()
	onEachStore(t, func(t *testing.T, c store.Config) {
		random := rand.New(rand.NewPCG(7, 7))
		log := &publications{random: rand.New(rand.NewPCG(1, 7)), ids: map[string]map[string]int{}}
		replicas := []*mortal{birth(t, c, log), birth(t, c, log), birth(t, c, log)}
		defer func() {
			for _, m := range replicas {
				m.bury()
			}
		}()
		for round := range rounds {
			victim := random.IntN(len(replicas))
			replicas[victim].after = random.IntN(2) == 0
			replicas[victim].left.Store(1 + random.Int64N(6))
			ids := make([]string, clients)
			var wg sync.WaitGroup
			for i := range ids {
				own := rand.New(rand.NewPCG(uint64(round), uint64(i)))
				wg.Go(func() {
					assert.Eventually(t, func() bool {
						ids[i] = replicas[own.IntN(len(replicas))].submit(t, fmt.Sprint(round))
						return ids[i] != ""
					}, time.Minute, 25*time.Millisecond)
				})
			}
			wg.Wait()
			require.NotEmpty(t, ids[0])
			for _, id := range ids {
				require.Equal(t, ids[0], id)
			}
			log.mu.Lock()
			published := log.ids[fmt.Sprint(round)]
			log.mu.Unlock()
			require.Len(t, published, 1)
			require.Contains(t, published, ids[0])
			replicas[victim].bury()
			replicas[victim] = birth(t, c, log)
		}
	})
}

// TestOneIDOneNotification: many clients submit two notifications under one id to two replicas at once. The replicas accept
// one of the two, however often, and nothing of the other one is published.
func TestOneIDOneNotification(t *testing.T) {
	const clients = 8
	rounds := 20 * scale()
	onEachStore(t, func(t *testing.T, c store.Config) {
		log := &publications{random: rand.New(rand.NewPCG(1, 9)), ids: map[string]map[string]int{}}
		patient := producer.Timeouts{Dispatch: time.Minute, Claim: time.Minute} // an id that cannot be looked up in time is accepted
		replicas := []*mortal{birthWith(t, c, log, patient), birthWith(t, c, log, patient)}
		defer func() {
			for _, m := range replicas {
				m.bury()
			}
		}()
		for range rounds {
			id := notify.NewID()
			codes := make([]int, clients)
			var wg sync.WaitGroup
			for i := range codes {
				wg.Go(func() {
					body := fmt.Sprintf(`{"id":%q,"channel":"sms","recipient":"+14155550100","payload":{"body":"hi"},"reference":"%s-%d"}`, id, id, i%2)
					answer, err := http.Post(replicas[i/2%2].server.URL+"/v1/notifications", "application/json", strings.NewReader(body))
					if assert.NoError(t, err) {
						codes[i] = answer.StatusCode
						answer.Body.Close()
					}
				})
			}
			wg.Wait()
			var refused [2]int // by content
			for i, code := range codes {
				require.Contains(t, []int{http.StatusAccepted, http.StatusConflict, http.StatusServiceUnavailable}, code)
				if code == http.StatusConflict {
					refused[i%2]++
				}
			}
			require.ElementsMatch(t, []int{0, clients / 2}, refused[:], "one content is refused to all, and the other to nobody: %v", codes)
			log.mu.Lock()
			for content, n := range refused {
				if n > 0 {
					require.Empty(t, log.ids[fmt.Sprintf("%s-%d", id, content)])
				}
			}
			log.mu.Unlock()
		}
	})
}

// submit gives the id of what was accepted, or nothing.
func (m *mortal) submit(t *testing.T, reference string) string {
	body := `{"channel":"sms","recipient":"+14155550100","payload":{"body":"hi"},"reference":"` + reference + `"}`
	r, err := http.NewRequest(http.MethodPost, m.server.URL+"/v1/notifications", strings.NewReader(body))
	assert.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "key-of-"+reference)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		assert.Contains(t, []int{http.StatusAccepted, http.StatusConflict, http.StatusServiceUnavailable}, answer.StatusCode, string(content))
		return ""
	}
	var accepted struct{ ID string }
	assert.NoError(t, json.Unmarshal(content, &accepted))
	return accepted.ID
}

// onEachStore runs a test on SQLite, and on PostgreSQL where LAUDSPEAKER_TEST_POSTGRES names one, in a schema of its own.
func onEachStore(t *testing.T, test func(t *testing.T, c store.Config)) {
	t.Run("sqlite", func(t *testing.T) { test(t, store.Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) {
		dsn := os.Getenv("LAUDSPEAKER_TEST_POSTGRES")
		if dsn == "" {
			t.Skip("LAUDSPEAKER_TEST_POSTGRES names no PostgreSQL (scripts/postgres.sh start)")
		}
		db, err := sql.Open("pgx", dsn)
		require.NoError(t, err)
		name := "t" + strings.ReplaceAll(notify.NewID(), "-", "")
		_, err = db.Exec("CREATE SCHEMA " + name)
		require.NoError(t, err)
		defer func() {
			_, err := db.Exec("DROP SCHEMA " + name + " CASCADE")
			require.NoError(t, err)
			require.NoError(t, db.Close())
		}()
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		query := u.Query()
		query.Set("search_path", name)
		u.RawQuery = query.Encode()
		test(t, store.Config{DSN: u.String()})
	})
}
