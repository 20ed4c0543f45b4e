package producer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

func TestStream(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		s.feed.add(3)
		r := s.open("")
		require.Equal(t, http.StatusOK, r.answer.StatusCode)
		require.Equal(t, "text/event-stream", r.answer.Header.Get("Content-Type"))
		require.Equal(t, "no-store", r.answer.Header.Get("Cache-Control"))
		synctest.Wait()
		s.feed.add(2)
		began := time.Now()
		require.Equal(t, []int{4, 5}, r.numbers(2), "what was there before is not for one who did not ask for it")
		require.LessOrEqual(t, time.Since(began), lookForEvents)
	})
}

// A stream outlives the time that a request and its answer have, and shows that it lives.
func TestStreamsStayOpen(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		r := s.open("?channel=push")
		s.feed.add(5)
		for range 10 {
			_, err := r.lines.ReadString(':')
			require.NoError(t, err)
			line, err := r.lines.ReadString('\n')
			require.NoError(t, err)
			if line != " still here\n" {
				continue
			}
			id, err := r.lines.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "id: 5\n", id, "what is not wanted need not be looked at again")
			require.Greater(t, heartbeat, 10*time.Second)
			break
		}
		for range 20 {
			_, err := r.lines.ReadString(':')
			require.NoError(t, err)
		}
		s.feed.add(5)
		require.Equal(t, []int{10}, r.numbers(1))
	})
}

// One who comes back with the id that it has misses nothing and has nothing twice, however far behind it is.
func TestComingBack(t *testing.T) {
	const all = mostLatest*2 + 345
	streaming(t, Config{}, func(s *streams) {
		var got []int
		for last := "0"; len(got) < all; {
			r := s.open("?after=7", "Last-Event-ID", last) // the header is the later one
			go s.feed.add(min(2345, all-len(s.feed.events)))
			got = append(got, r.numbers(min(1234, all-len(got)))...)
			last = r.last
			r.conn.Close()
			synctest.Wait()
		}
		require.Equal(t, upTo(1, all), got)
	})
}

func TestAfter(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		s.feed.add(25)
		require.Equal(t, upTo(22, 25), s.open("?after=21").numbers(4))
		require.Equal(t, []int{10, 20}, s.open("?after=0&channel=push").numbers(2))
		require.Equal(t, []int{13}, s.open("?after=0&reference=13").numbers(1))
		require.Equal(t, upTo(1, 25), s.open("?after=1000").numbers(25), "of a store that was there before this one")
	})
}

// Between what the store was asked for and what comes later there is no gap.
func TestOlderAndNewerEventsMeet(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		s.feed.add(9)
		r := s.open("?after=0&channel=push")
		synctest.Wait()
		s.feed.add(1)
		require.Equal(t, []int{10}, r.numbers(1))
	})
}

// What was asked for before everybody left is not what comes next for those who came since.
func TestAnAnswerThatIsTooLate(t *testing.T) {
	l := newLatest(&fakeFeed{}, 0, nil)
	_, _ = l.join(5, "")
	l.add(3, 4, []notify.SeenEvent{anEvent(4)})
	require.Empty(t, l.after(0).frames)
	require.EqualValues(t, 5, l.after(5).to)
	l.add(5, 7, []notify.SeenEvent{anEvent(6)})
	require.Len(t, l.after(5).frames, 1)
	require.EqualValues(t, 7, l.after(5).to)
}

// One who has left before the first event has an id to come back with.
func TestTheIDComesFirst(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		s.feed.add(3)
		require.Equal(t, "3", s.open("").last)
		require.Equal(t, "2", s.open("?after=2&channel=push").last)
	})
}

// The store is asked once for all who are up to date, and not at all when there is nobody.
func TestTheStoreIsAskedOnceForAll(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		time.Sleep(time.Minute) // of the bubble
		require.Zero(t, s.feed.asked)
		var readers []*reader
		for range 20 {
			readers = append(readers, s.open(""))
		}
		synctest.Wait()
		s.feed.add(10)
		for _, r := range readers {
			require.Equal(t, upTo(1, 10), r.numbers(10))
		}
		require.Equal(t, 1, s.feed.asked)
	})
}

// The recorder of this process need not wait for the next look.
func TestStreamsAreWoken(t *testing.T) {
	fed := make(chan struct{}, 1)
	synctest.Test(t, func(t *testing.T) {
		feed := &fakeFeed{}
		l := newLatest(feed, 0, newServer(t, Config{}).cfg.Log)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.run(ctx, fed)
		_, err := l.join(0, "")
		require.NoError(t, err)
		news := l.after(0).news // taken first: afterwards it may be that of what comes next
		feed.add(1)
		began := time.Now()
		fed <- struct{}{}
		<-news
		require.Equal(t, began, time.Now())
		require.Len(t, l.after(0).frames, 1)
	})
}

// A reader that falls behind what is held for all is told so, and comes back for the rest.
func TestASlowReader(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		r := s.open("?after=0")
		synctest.Wait()
		s.feed.add(mostLatest / 2) // far more than a piece: the stream waits for the reader
		time.Sleep(time.Second)
		s.feed.add(mostLatest)
		time.Sleep(time.Second)
		got := r.ends("slow")
		require.NotEmpty(t, got)
		got = append(got, s.open("", "Last-Event-ID", r.last).numbers(mostLatest*3/2-len(got))...)
		require.Equal(t, upTo(1, mostLatest*3/2), got)
	})
}

// A reader that takes nothing at all does not hold its stream for ever.
func TestAReaderThatTakesNothing(t *testing.T) {
	log := &journal{}
	streaming(t, Config{Log: log.logger()}, func(s *streams) {
		r := s.open("")
		synctest.Wait()
		s.feed.add(1000)
		time.Sleep(2 * writeWithin)
		require.Contains(t, log.text(), `"ended":"the caller took nothing"`)
		_, err := io.Copy(io.Discard, r.conn)
		require.NoError(t, err, "it is over")
	})
}

func TestStreamsEndWithTheServer(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		var readers []*reader
		for range 3 {
			readers = append(readers, s.open(""))
		}
		began := time.Now()
		go s.end()
		for _, r := range readers {
			r.ends("shutdown")
		}
		s.end()
		require.Less(t, time.Since(began), 5*time.Second, "the drain is not waited for")
	})
}

// A store that is away for a while only delays what is new; one who would have to be given older events is told to come back.
func TestTheStoreIsAway(t *testing.T) {
	log := &journal{}
	streaming(t, Config{Log: log.logger()}, func(s *streams) {
		s.feed.add(5)
		r := s.open("")
		synctest.Wait()
		s.feed.fail(notify.ErrStatusUnavailable)
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, strings.Count(log.text(), "streams wait"), "said once")
		require.Equal(t, http.StatusServiceUnavailable, s.open("?after=0").answer.StatusCode)
		s.feed.fail(nil)
		s.feed.add(1)
		require.Equal(t, []int{6}, r.numbers(1))
	})
}

func TestAStoreThatIsLostOnTheWay(t *testing.T) {
	o := &outlet{latest: newLatest(&fakeFeed{err: errors.New("away")}, 0, nil)}
	o.latest.from, o.latest.seen = 5, 5
	require.Equal(t, "unavailable", captureStream(t, o))
}

// With a store that was made anew the numbers begin anew: going on would leave out what comes.
func TestAStoreMadeAnew(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		s.feed.add(5)
		r := s.open("")
		synctest.Wait()
		s.feed.empty()
		r.ends("rebuilt")
		require.Equal(t, "0", r.last)
	})
}

func TestWhereToGoOnIsSaidOnce(t *testing.T) {
	s := newServer(t, Config{})
	for _, last := range [][]string{{""}, {"+1"}, {"-1"}, {"1", "1"}, {"1.0"}, {"9223372036854775808"}} {
		r := request(http.MethodGet, "/v1/stream", "")
		r.Header["Last-Event-Id"] = last
		answer, body := do(t, s, r)
		require.Equal(t, http.StatusUnprocessableEntity, answer.StatusCode, "%q", last)
		require.Contains(t, body, "Last-Event-ID: give the id")
	}
}

func TestThereIsAnEndToStreams(t *testing.T) {
	streaming(t, Config{}, func(s *streams) {
		var readers []*reader
		for range mostStreams {
			readers = append(readers, s.open(""))
		}
		r := s.open("")
		body, err := io.ReadAll(r.answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusTooManyRequests, r.answer.StatusCode)
		require.Equal(t, "5", r.answer.Header.Get("Retry-After"))
		require.Contains(t, string(body), `"code":"shedding"`)
		readers[0].conn.Close()
		synctest.Wait()
		require.Equal(t, http.StatusOK, s.open("").answer.StatusCode, "who leaves makes room")
	})
}

// Where there are several keys none of them takes all streams; the only one may.
func TestOneKeyLeavesStreamsToTheOthers(t *testing.T) {
	greedy, first := GenerateKey("greedy", ScopeRead)
	other, second := GenerateKey("other", ScopeRead)
	streaming(t, Config{Keys: []Key{first, second}}, func(s *streams) {
		open := func(key string) *reader { return s.open("", "Authorization", "Bearer "+key) }
		var readers []*reader
		for range mostStreams / 2 {
			readers = append(readers, open(greedy))
			require.Equal(t, http.StatusOK, readers[len(readers)-1].answer.StatusCode)
		}
		r := open(greedy)
		body, err := io.ReadAll(r.answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusTooManyRequests, r.answer.StatusCode)
		require.Contains(t, string(body), "close some of the streams under this key")
		require.Contains(t, string(body), "128 of the 256")
		require.Equal(t, http.StatusOK, open(other).answer.StatusCode)
		readers[0].conn.Close()
		synctest.Wait()
		require.Equal(t, http.StatusOK, open(greedy).answer.StatusCode, "who leaves makes room")
	})
	require.Equal(t, mostStreams, newLatest(nil, 1, nil).share)
}

func TestStreamsNeedAKeyToRead(t *testing.T) {
	sendKey, send := GenerateKey("shop", ScopeSend)
	readKey, read := GenerateKey("eyes", ScopeRead)
	streaming(t, Config{Keys: []Key{send, read}}, func(s *streams) {
		for key, status := range map[string]int{"": 401, sendKey: 403, readKey: 200} {
			require.Equal(t, status, s.open("", "Authorization", "Bearer "+key).answer.StatusCode)
		}
	})
	streaming(t, Config{}, func(s *streams) {
		require.Equal(t, 403, s.open("", "Origin", "https://page.test.example").answer.StatusCode)
	})
}

// captureStream runs o for a caller that takes everything, and gives what ended it.
func captureStream(t *testing.T, o *outlet) string {
	t.Helper()
	w := &taker{}
	o.exchange, o.control = &exchange{w: w}, http.NewResponseController(w)
	return o.run(t.Context(), time.Second)
}

type taker struct{ http.ResponseWriter }

func (*taker) Write(b []byte) (int, error)        { return len(b), nil }
func (*taker) Flush()                             {}
func (*taker) SetWriteDeadline(_ time.Time) error { return nil }
