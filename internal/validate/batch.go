package validate

import (
	"slices"
	"strconv"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// MaxBatch is how many notifications a batch may hold.
const MaxBatch = 1000

// Batch splits {"notifications": [...]} into its elements, which may be anything so far: [DecodeItem] reads them one by one.
// Raw must not change as long as they are used.
func Batch(raw []byte) (items [][]byte, faults notify.Faults) {
	// An element is nested as deep as it could be by itself; one that is too deep is a fault of its own, up to a point.
	c := &checker{reader: reader{b: raw, depth: -maxDepth}}
	const at = "#/notifications"
	known := []string{"notifications"}
	found := c.open("#", known, func(int, string) {
		if !c.is('[', at, "an array of notifications") {
			return
		}
		c.array(func(i int) {
			if item := c.skip(); i < MaxBatch {
				items = append(items, item)
			} else {
				c.fault(at, notify.FaultTooLong, "give at most "+strconv.Itoa(MaxBatch)+" notifications")
			}
		})
		if len(items) == 0 {
			c.required(at, "give at least one notification")
		}
	}, func(key string) {
		c.skip()
		c.unknown("#", key, known)
	})
	if c.end(); c.bad != "" {
		return nil, notify.Faults{{Pointer: "#", Code: Malformed, Detail: "send one JSON object in UTF-8: " + c.bad}}
	}
	if found && items == nil {
		c.required(at, "give the notifications")
	}
	return items, c.faults
}

// DecodeItem is [Decode], strict, of one element of a batch, which may have an idempotency key of its own.
func DecodeItem(raw []byte) (n *notify.Notification, key string, faults notify.Faults) {
	itemFields := append(slices.Clip(envelope), "idempotency_key")
	c := &checker{reader: reader{b: raw}}
	n = c.notification(itemFields, func(at string) {
		if key = c.str(at); !IdempotencyKey(key) {
			c.invalid(at, "give "+KeyForm)
		}
	}, func(key string) {
		c.skip()
		c.unknown("#", key, itemFields)
	})
	return n, key, c.faults
}

// KeyForm says what an idempotency key is made of.
const KeyForm = "1 to 255 visible ASCII characters, such as a UUID"

// IdempotencyKey reports whether key can be one.
func IdempotencyKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return false
		}
	}
	return key != "" && len(key) <= 255
}
