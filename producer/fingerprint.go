package producer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fingerprint is the same for all spellings of one notification: white space, the order and escaping of names, and how
// numbers and times are written make no difference, nor does leaving out what has a default that the contract fixes. What the server
// makes up, an id or an expiry, is not part of it; an id of the caller's is. n has been found valid.
func fingerprint(n *notify.Notification, key string) ([sha256.Size]byte, error) {
	c := *n
	var err error
	if c.Payload, err = notify.Canonical(n.Payload); err != nil {
		return [sha256.Size]byte{}, err
	}
	if c.Template, err = notify.Canonical(n.Template); err != nil {
		return [sha256.Size]byte{}, err
	}
	if c.SendAt != nil {
		at := c.SendAt.UTC()
		c.SendAt = &at
	}
	if c.ExpiresAt != nil {
		at := c.ExpiresAt.UTC()
		c.ExpiresAt = &at
	}
	if c.OnAmbiguous == "" {
		c.OnAmbiguous = notify.AmbiguousResend
	}
	encoded, err := c.Encode() // maps come sorted
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encode the notification: %w", err)
	}
	return underKey(key, encoded), nil
}

// underKey stands for text in the store, which does not have the idempotency key: whoever reads it cannot find out a short
// code, such as a one-time password, by trying all of them.
func underKey(key string, text []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(text)
	mac.Sum(sum[:0])
	return sum
}

// keyName stands for the key itself. It is no plain hash, which is what HMAC makes of a long key before it uses it.
func keyName(key string) string {
	sum := underKey(key, nil)
	return hex.EncodeToString(sum[:])
}
