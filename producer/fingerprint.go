package producer

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/laudspeaker/laudspeaker/internal/notify"
)

// fingerprint is the same for all spellings of one notification: white space, the order and escaping of names, and how
// numbers and times are written make no difference, nor does leaving out what has a default that the contract fixes. What the server
// makes up, an id or an expiry, is not part of it; an id of the caller's is. n has been found valid.
func fingerprint(n *notify.Notification, key string) ([sha256.Size]byte, error) {
	c := *n
	var err error
	if c.Payload, err = canonical(n.Payload); err != nil {
		return [sha256.Size]byte{}, err
	}
	if c.Template, err = canonical(n.Template); err != nil {
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

// canonical writes JSON in one spelling.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	return json.Marshal(respelt(tree))
}

// respelt gives tree with its numbers in one spelling.
func respelt(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		for name := range v {
			v[name] = respelt(v[name])
		}
	case []any:
		for i := range v {
			v[i] = respelt(v[i])
		}
	case json.Number:
		return decimal(string(v))
	}
	return tree
}

// decimal gives a JSON number as its digits, without zeros at either end, and an exponent: 1.50, 15e-1 and 0.15E+1 are all
// 15e-1. It goes by the text, since a float64 would make one of several numbers.
func decimal(s string) json.Number {
	digits, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0"
	}
	e := 0
	if exponent != "" {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil {
			return json.Number(s) // no two clients write such a number in two ways
		}
	}
	significant := strings.TrimRight(digits, "0")
	e += len(digits) - len(significant) - len(fraction)
	if negative {
		significant = "-" + significant
	}
	return json.Number(significant + "e" + strconv.Itoa(e))
}
