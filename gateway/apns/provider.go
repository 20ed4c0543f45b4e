package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Apple takes a provider token for an hour, and a new one no more often than every 20 minutes
// (https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns#Refresh-your-token-regularly).
const (
	renewAfter = 40 * time.Minute
	renewLeast = 20 * time.Minute
)

// provider signs the token by which APNs knows us: one for all messages of this process, until it is due for another.
type provider struct {
	team, keyID string
	file        string // of the key

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	current string
	signed  time.Time
}

// token gives the token in force.
func (p *provider) token(now time.Time) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != "" && age(p.signed, now) < renewAfter {
		return p.current, nil
	}
	return p.sign(now)
}

// renew gives another token than expired, unless that one is too young for another by Apple's rule. Of many that ask at once
// the first signs, and all get the same.
func (p *provider) renew(expired string, now time.Time) (fresh string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != expired {
		return p.current, p.current != ""
	}
	if age(p.signed, now) < renewLeast {
		return "", false
	}
	fresh, err := p.sign(now)
	return fresh, err == nil
}

// reread takes another key that stands in the file by now. With the same key the token stays: it has done nothing wrong, and
// a new one for each refusal would be against Apple's rule.
func (p *provider) reread() {
	key, err := readKey(p.file)
	if err != nil {
		return // half written, perhaps; the key at hand is as good as any
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !key.Equal(p.key) {
		p.key, p.current = key, ""
	}
}

func (p *provider) sign(now time.Time) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": p.team, "iat": now.Unix()})
	t.Header["kid"] = p.keyID
	text, err := t.SignedString(p.key)
	if err != nil {
		return "", err
	}
	p.current, p.signed = text, now
	return text, nil
}

// age goes by the clock that has moved further: the monotonic one stands still while a host sleeps, and the other may be set back.
func age(signed, now time.Time) time.Duration {
	return max(now.Sub(signed), now.Round(0).Sub(signed.Round(0)))
}

// readKey reads a .p8 file. Its errors hold nothing of the content.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	if file == "" {
		return nil, errors.New("name the .p8 file of the APNs key")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(text)
	if err != nil || key.Curve != elliptic.P256() {
		return nil, errors.New("the file is no APNs key: take the .p8 file that Apple's developer account gives out under Keys, with its BEGIN and END lines")
	}
	return key, nil
}
