package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func claimOf(key string, at time.Time) notify.Claim {
	return notify.Claim{
		Tenant: "default", Key: key, Fingerprint: [32]byte{1}, ID: notify.NewID(), Token: notify.NewID(), At: at, Until: at.Add(6 * time.Second),
	}
}

func settlementOf(c notify.Claim, o notify.Outcome) notify.Settlement {
	s := notify.Settlement{Tenant: c.Tenant, Key: c.Key, Token: c.Token, Outcome: o}
	if o == notify.OutcomeAnswered {
		s.Answer = []byte(`{"id":"` + c.ID + `"}`)
	}
	return s
}

func claim(t testing.TB, k *Store, claims ...notify.Claim) []notify.Claimed {
	t.Helper()
	claimed, err := k.Claim(context.Background(), claims)
	require.NoError(t, err)
	require.Len(t, claimed, len(claims))
	return claimed
}

func settle(t testing.TB, k *Store, settled ...notify.Settlement) {
	t.Helper()
	require.NoError(t, k.Settle(context.Background(), settled))
}

func TestTheLifeOfAKey(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		first := claimOf("k", noon)
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: first.ID, First: true}}, claim(t, k, first))

		second := claimOf("k", noon.Add(time.Second))
		require.Equal(t, notify.ClaimInFlight, claim(t, k, second)[0].State)
		other := second
		other.Fingerprint[0]++
		require.Equal(t, notify.ClaimMismatch, claim(t, k, other)[0].State)
		shop := second
		shop.Tenant = "shop"
		require.True(t, claim(t, k, shop)[0].First, "each tenant has keys of its own")

		settle(t, k, settlementOf(first, notify.OutcomeAnswered))
		require.Equal(t, []notify.Claimed{{State: notify.ClaimAnswered, ID: first.ID, Answer: []byte(`{"id":"` + first.ID + `"}`)}}, claim(t, k, second))
		require.Equal(t, notify.ClaimMismatch, claim(t, k, other)[0].State)

		late := claimOf("k", noon.Add(notify.KeyLifetime-time.Microsecond))
		require.Equal(t, notify.ClaimAnswered, claim(t, k, late)[0].State)
		late = claimOf("k", noon.Add(notify.KeyLifetime))
		late.Fingerprint[0]++
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: late.ID, First: true}}, claim(t, k, late))
	})
}

// A key that becomes too old while a request publishes under it is not given to another one.
func TestKeys_InFlightIsNeverFree(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		first := claimOf("k", noon)
		claim(t, k, first)
		last := claimOf("k", noon.Add(notify.KeyLifetime-time.Second))
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: first.ID}}, claim(t, k, last))
		other := claimOf("k", noon.Add(notify.KeyLifetime+time.Second))
		other.Fingerprint[0]++
		require.Equal(t, notify.ClaimMismatch, claim(t, k, other)[0].State)
		require.Equal(t, notify.ClaimInFlight, claim(t, k, claimOf("k", noon.Add(notify.KeyLifetime+time.Second)))[0].State)
		settle(t, k, settlementOf(last, notify.OutcomeAnswered))
		again := claimOf("k", noon.Add(notify.KeyLifetime+time.Minute))
		require.Equal(t, notify.ClaimAnswered, claim(t, k, again)[0].State, "who lost the answer gets it again")
		free := claimOf("k", last.At.Add(notify.KeyLifetime))
		require.True(t, claim(t, k, free)[0].First)

		slow := claimOf("slow", noon) // a clock ahead, or a very long request
		slow.Until = noon.Add(notify.KeyLifetime + time.Hour)
		claim(t, k, slow)
		require.Equal(t, notify.ClaimInFlight, claim(t, k, claimOf("slow", noon.Add(notify.KeyLifetime)))[0].State)

		_, err := k.write.Exec("UPDATE idempotency SET claimed_to = $1 WHERE key = 'slow'", micros(time.Now().Add(time.Minute)))
		require.NoError(t, err)
		_, err = k.Retain(context.Background(), noon)
		require.NoError(t, err)
		var left []string
		rows, err := k.read.Query("SELECT key FROM idempotency")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var key string
			require.NoError(t, rows.Scan(&key))
			left = append(left, key)
		}
		require.Equal(t, []string{"slow"}, left, "retention leaves what is in flight")
	})
}

// Whoever takes a key over publishes under the id that may be on the log already; whoever has lost it has no say any more.
func TestAKeyIsTakenOver(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		dead := claimOf("k", noon)
		claim(t, k, dead)
		early, next := claimOf("k", dead.Until.Add(-time.Microsecond)), claimOf("k", dead.Until)
		require.Equal(t, notify.ClaimInFlight, claim(t, k, early)[0].State)
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: dead.ID}}, claim(t, k, next))
		for _, o := range []notify.Outcome{notify.OutcomeAnswered, notify.OutcomeUnclear, notify.OutcomeRefused} {
			settle(t, k, settlementOf(dead, o))
			require.Equal(t, notify.ClaimInFlight, claim(t, k, early)[0].State)
		}
		settle(t, k, settlementOf(next, notify.OutcomeUnclear))
		last := claimOf("k", noon)
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: dead.ID}}, claim(t, k, last), "at once")
		settle(t, k, settlementOf(last, notify.OutcomeAnswered))
		require.Equal(t, notify.ClaimAnswered, claim(t, k, claimOf("k", noon))[0].State)
	})
}

func TestARefusedKeyIsFree(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		first := claimOf("k", noon)
		claim(t, k, first)
		settle(t, k, settlementOf(first, notify.OutcomeRefused))
		second := claimOf("k", noon)
		second.Fingerprint[0]++
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: second.ID, First: true}}, claim(t, k, second))
		settle(t, k, settlementOf(second, notify.OutcomeAnswered))

		require.NoError(t, k.Reset(context.Background()))
		require.Equal(t, notify.ClaimMismatch, claim(t, k, first)[0].State, "keys are not in the topics: they stay when the store is emptied")
	})
}

// One call may name a key several times, as several requests that came at once do.
func TestAKeyTwiceAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		a, b, other := claimOf("k", noon), claimOf("k", noon), claimOf("k", noon)
		other.Fingerprint[0]++
		got := claim(t, k, a, b, claimOf("l", noon), other)
		require.Equal(t, []notify.ClaimState{notify.ClaimGranted, notify.ClaimInFlight, notify.ClaimGranted, notify.ClaimMismatch},
			[]notify.ClaimState{got[0].State, got[1].State, got[2].State, got[3].State})
		settle(t, k, settlementOf(a, notify.OutcomeUnclear), settlementOf(b, notify.OutcomeAnswered))
		got = claim(t, k, claimOf("k", noon), claimOf("k", noon))
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: a.ID}, {State: notify.ClaimInFlight}}, got)
	})
}

// openForThree opens the store for three replicas: SQLite is for one process, and they share it.
func openForThree(t *testing.T, c Config) []*Store {
	one := open(t, c)
	if c.DSN == "" {
		return []*Store{one, one, one}
	}
	return []*Store{one, open(t, c), open(t, c)}
}

// TestARaceForAKey: of 64 that ask for one key at three replicas at once, one has it.
func TestARaceForAKey(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		replicas := openForThree(t, c)
		for round := range 20 {
			claimed := make([]notify.Claimed, 64)
			ids := map[string]bool{}
			var wg sync.WaitGroup
			for i := range claimed {
				wg.Go(func() { claimed[i] = claim(t, replicas[i%3], claimOf(fmt.Sprint(round), noon))[0] })
			}
			wg.Wait()
			for _, got := range claimed {
				if got.State == notify.ClaimGranted {
					require.True(t, got.First)
					ids[got.ID] = true
				} else {
					require.Equal(t, notify.ClaimInFlight, got.State)
				}
			}
			require.Len(t, ids, 1)
		}
	})
}

// TestBatchesDoNotLockEachOther: batches of the same keys in any order, claimed, settled, taken over and removed at once.
// Keys are granted once each; no call fails, as one that had waited in a circle would.
func TestBatchesDoNotLockEachOther(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		replicas := openForThree(t, c)
		const keys, rounds = 50, 30
		now := time.Now() // keys of another day would be removed under way
		var wg sync.WaitGroup
		for w := range 6 {
			random := rand.New(rand.NewPCG(1, uint64(w)))
			k := replicas[w%3]
			wg.Go(func() {
				for range rounds {
					var claims []notify.Claim
					for _, i := range random.Perm(keys)[:keys/2] {
						claims = append(claims, claimOf(fmt.Sprint(i), now))
					}
					var settled []notify.Settlement
					for i, got := range claim(t, k, claims...) {
						if got.State == notify.ClaimGranted {
							o := []notify.Outcome{notify.OutcomeRefused, notify.OutcomeUnclear, notify.OutcomeUnclear}[random.IntN(3)]
							settled = append(settled, settlementOf(claims[i], o))
						}
					}
					random.Shuffle(len(settled), func(i, j int) { settled[i], settled[j] = settled[j], settled[i] })
					if len(settled) > 0 {
						settle(t, k, settled...)
					}
					_, err := k.freeKeys(context.Background())
					require.NoError(t, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestKeysOfAStoreThatIsAway(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		k := open(t, c)
		first := claimOf("k", noon)
		claim(t, k, first)
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := k.Claim(over, []notify.Claim{first})
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)
		require.ErrorIs(t, k.Settle(over, []notify.Settlement{settlementOf(first, notify.OutcomeAnswered)}), notify.ErrStatusUnavailable)
		require.NoError(t, k.Close())
		_, err = k.Claim(context.Background(), []notify.Claim{first})
		require.ErrorIs(t, err, notify.ErrStatusUnavailable)

		k = open(t, c) // back, after a crash: what was granted is known
		require.Equal(t, []notify.Claimed{{State: notify.ClaimGranted, ID: first.ID}}, claim(t, k, claimOf("k", first.Until)))
	})
}
