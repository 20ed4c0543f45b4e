package cmd

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/internal/kafka"
	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// duplicates are the events that say that another notification came under an id.
func (b *bus) duplicates(id string) (all []outcome) {
	for _, o := range b.events(id) {
		if o.Note == notify.NoteDuplicate {
			all = append(all, o)
		}
	}
	return all
}

// One id is one notification: the API refuses another one. One that comes all the same is not sent, and an event says so, after a
// take-over too.
func TestAnotherNotificationUnderAKnownID(t *testing.T) {
	t.Parallel()
	onEachBus(t, func(t *testing.T, b *bus) {
		s := newTurnstile(t, "", nil)
		settings := yaml(b, map[string]string{"texts": s.gateway()}, map[string]string{"sms": "gateways: [texts]"})
		api, first := boot(t, "serve-api", settings), boot(t, "work --channel sms", settings)
		control := b.hear(write(t, settings))
		require.Eventually(t, func() bool { _, ok := control.FingerprintKey(); return ok }, patience, 20*time.Millisecond)

		once, other := smsTo("+14155550100", "once", `"id":"`+directID+`"`), smsTo("+14155550100", "other", `"id":"`+directID+`"`)
		require.Equal(t, directID, api.post(once))
		var problem struct{ Code, Detail string }
		require.Equal(t, http.StatusConflict, api.keyed("/v1/notifications", "", other, &problem).StatusCode)
		require.Equal(t, "id-conflict", problem.Code)
		var batch struct {
			Results []struct {
				Status  int
				Problem struct{ Code string }
			}
		}
		api.keyed("/v1/notifications/batch", "", `{"notifications":[`+other+`,`+once+`,`+smsTo("+14155550101", "third")+`]}`, &batch)
		r := batch.Results
		require.Equal(t, []int{409, 202, 202}, []int{r[0].Status, r[1].Status, r[2].Status})
		require.Equal(t, "id-conflict", r[0].Problem.Code)

		direct := func(body string) notify.Origin {
			topic := b.prefix + "sms_topic"
			partition, offset := b.publish(kafka.Message{Topic: topic, Partition: kafka.Hashed, Key: []byte("+14155550100"), Value: []byte(body)})
			return notify.Origin{Topic: topic, Partition: partition, Offset: offset}
		}
		awaitDuplicates := func(n int) []outcome {
			becomes(t, func() bool { return len(b.duplicates(directID)) >= n }, "the event of the duplicate")
			all := b.duplicates(directID)
			require.Len(t, all, n)
			return all
		}
		at := direct(other)
		direct(once)
		said := awaitDuplicates(1)[0]
		require.Equal(t, []any{notify.StateQueued, false, &at}, []any{said.State, said.Final, said.Origin})
		require.NotContains(t, string(said.Value), "other")
		require.Equal(t, 1.0, first.sum("laudspeaker_id_conflicts_total", `channel="sms"`, `lane="normal"`))
		require.Zero(t, first.stop())

		second := boot(t, "work --channel sms", settings) // it knows from the ledger
		at = direct(strings.Replace(other, "other", "another", 1))
		direct(once)
		said = awaitDuplicates(2)[1]
		require.Equal(t, &at, said.Origin)
		require.Equal(t, notify.StateSent, b.outcome(api.post(smsTo("+14155550100", "last"))).State, "behind it, on its key")
		require.Equal(t, 1.0, second.sum("laudspeaker_id_conflicts_total"))
		require.Len(t, b.duplicates(directID), 2)
		bodies := map[string]int{}
		for _, body := range s.bodies() {
			bodies[body]++
		}
		require.Equal(t, map[string]int{"once": 1, "third": 1, "last": 1}, bodies)

		var life notify.Life
		becomes(t, func() bool {
			life = notify.Life{}
			require.Equal(t, http.StatusOK, api.get("/v1/notifications/"+directID, &life))
			named := 0
			for _, e := range life.Timeline {
				if len(e.Fields) > 0 {
					named++
				}
			}
			return named == 2
		}, "the fields are named")
		require.Equal(t, notify.StateSent, life.State)
		for _, e := range life.Timeline {
			if e.Note == notify.NoteDuplicate {
				require.Equal(t, []string{"#/payload/body"}, e.Fields)
			}
		}
		code, out, errs := run(t, "audit", "--config", write(t, settings))
		require.Zero(t, code, out+errs)
	})
}
