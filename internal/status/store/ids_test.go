package store

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/status"
)

func contentNo(n byte) notify.Content {
	return notify.Content{Exact: notify.Fingerprint{n, 1}, NoExpiry: notify.Fingerprint{n, 1}}
}

func idClaim(id string, content byte) notify.IDClaim {
	return notify.IDClaim{ID: id, Content: contentNo(content), At: noon}
}

func claimIDs(t testing.TB, s *Store, claims ...notify.IDClaim) []bool {
	t.Helper()
	taken, err := s.ClaimIDs(context.Background(), claims)
	require.NoError(t, err)
	require.Len(t, taken, len(claims))
	return taken
}

func claimRows(t testing.TB, s *Store) (n int) {
	t.Helper()
	require.NoError(t, s.read.QueryRow("SELECT count(*) FROM id_claims").Scan(&n))
	return n
}

func TestIDs_AClaimKeepsOtherContentsOut(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s, other := open(t, c), open(t, c)
		id, free := notify.NewID(), notify.NewID()
		require.Equal(t, []bool{false, true, false}, claimIDs(t, s, idClaim(id, 1), idClaim(id, 2), idClaim(id, 1)))
		require.Equal(t, []bool{true, false, false}, claimIDs(t, other, idClaim(id, 2), idClaim(id, 1), idClaim(free, 2)), "another process has the same secret")
		require.NoError(t, s.Reset(context.Background()))
		require.Equal(t, []bool{true, false}, claimIDs(t, open(t, c), idClaim(id, 2), idClaim(id, 1)), "a rebuilt store, too")

		late := idClaim(id, 2)
		late.At = noon.Add(notify.IDLifetime - time.Microsecond)
		require.Equal(t, []bool{true}, claimIDs(t, s, late))
		late.At = noon.Add(notify.IDLifetime)
		require.Equal(t, []bool{false}, claimIDs(t, s, late))
		require.Equal(t, []bool{true}, claimIDs(t, s, idClaim(id, 1)))
	})
}

func TestIDs_ARefusedNotificationFreesItsID(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s, ctx := open(t, c), context.Background()
		id := notify.NewID()
		claimIDs(t, s, idClaim(id, 1), idClaim(id, 1))
		require.NoError(t, s.ReleaseIDs(ctx, []notify.IDClaim{idClaim(id, 2), idClaim(id, 1)}))
		require.Equal(t, []bool{true}, claimIDs(t, s, idClaim(id, 2)), "the other request may have published it")
		require.NoError(t, s.ReleaseIDs(ctx, []notify.IDClaim{idClaim(id, 1), idClaim(notify.NewID(), 1)}))
		require.Zero(t, claimRows(t, s))
		require.Equal(t, []bool{false}, claimIDs(t, s, idClaim(id, 2)))
		require.Equal(t, 1, claimRows(t, s))
	})
}

func TestIDs_ARecordedNotificationKeepsOtherContentsOut(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := recording(t, c)
		exact, noExpiry, old := notify.NewID(), notify.NewID(), notify.NewID()
		jobs := []status.Change{accepted(exact, noon), accepted(noExpiry, noon), accepted(old, noon)}
		jobs[0].Job.Fingerprint = contentNo(1).Exact
		jobs[1].Job.Fingerprint, jobs[1].Job.NoExpiry = contentNo(1).NoExpiry, true
		take(t, s, jobs...)
		take(t, s, became(exact, 0, notify.StateSent, noon)) // leaves what was accepted as it is

		require.Equal(t, []bool{false, true}, claimIDs(t, s, idClaim(exact, 1), idClaim(exact, 2)))
		later := idClaim(noExpiry, 1)
		later.Content.Exact[7]++ // another expiry: the first one may have been the API's
		require.Equal(t, []bool{true, false, true}, claimIDs(t, s, idClaim(noExpiry, 2), later, idClaim(noExpiry, 2)))
		require.Equal(t, []bool{false}, claimIDs(t, s, idClaim(old, 9)), "a row without a fingerprint fits everything")
		require.Equal(t, 3, claimRows(t, s), "no row is left of those that were refused")

		var stored string
		require.NoError(t, s.read.QueryRow("SELECT fingerprint FROM notifications WHERE id = $1", exact).Scan(&stored))
		require.Len(t, stored, 16)
		require.NotContains(t, stored, contentNo(1).Exact.String(), "it is keyed")

		n, err := s.Expunge(context.Background(), notify.Expunge{IDs: []string{exact}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, s.read.QueryRow("SELECT fingerprint FROM notifications WHERE id = $1", exact).Scan(&stored))
		require.Empty(t, stored)
		require.Equal(t, []bool{false}, claimIDs(t, s, idClaim(exact, 2)))
	})
}

func TestIDs_StoresHaveDifferentSecrets(t *testing.T) {
	one, two := open(t, Config{Dir: t.TempDir()}), open(t, Config{Dir: t.TempDir()})
	require.Len(t, one.secret, 32)
	require.NotEqual(t, one.secret, two.secret)
}

// However many ask at once, of any number of processes: one content of each id is granted, and every request with it.
func TestIDs_OneContentWinsARace(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		stores := []*Store{open(t, c), open(t, c)}
		ids := []string{notify.NewID(), notify.NewID(), notify.NewID()}
		const requests = 24
		taken := make([][]bool, requests)
		errs := make([]error, requests)
		var all sync.WaitGroup
		for r := range requests {
			all.Go(func() {
				claims := []notify.IDClaim{idClaim(ids[0], byte(r%3)), idClaim(ids[1], byte(r%2)), idClaim(ids[2], byte(r))}
				taken[r], errs[r] = stores[r%2].ClaimIDs(context.Background(), claims)
			})
		}
		all.Wait()
		for i := range ids {
			won := map[byte]int{}
			for r := range requests {
				require.NoError(t, errs[r])
				if content := []byte{byte(r % 3), byte(r % 2), byte(r)}[i]; !taken[r][i] {
					won[content]++
				}
			}
			require.Len(t, won, 1)
			for _, n := range won {
				require.Equal(t, []int{requests / 3, requests / 2, 1}[i], n)
			}
		}
	})
}

func TestIDs_OldClaimsGo(t *testing.T) {
	onEach(t, func(t *testing.T, c Config) {
		s := open(t, c)
		fresh := idClaim(notify.NewID(), 1)
		fresh.At = time.Now()
		claimIDs(t, s, idClaim(notify.NewID(), 1), fresh)
		old := idClaim(notify.NewID(), 1)
		old.At = time.Now().Add(-notify.IDLifetime - time.Minute)
		claimIDs(t, s, old)
		_, err := s.write.Exec("UPDATE id_claims SET created_at = $1 WHERE created_at = $2", micros(time.Now().Add(-2*notify.IDLifetime)), micros(noon))
		require.NoError(t, err)
		_, err = s.Retain(context.Background(), noon)
		require.NoError(t, err)
		require.Equal(t, 1, claimRows(t, s))
	})
}
