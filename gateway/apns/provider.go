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

// Apple accepts a provider token for an hour, and a new one at most every 20 minutes
// (https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns#Refresh-your-token-regularly).
const (
	renewAfter = 40 * time.Minute
	renewLeast = 20 * time.Minute
)

// provider signs the provider token. All messages of this process share one token until it is renewed. Concurrent calls are
// safe.
type provider struct {
	team, keyID string
	file        string // of the key

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	current string
	signed  time.Time
}

// token returns the current token.
func (p *provider) token(now time.Time) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != "" && age(p.signed, now) < renewAfter {
		return p.current, nil
	}
	return p.sign(now)
}

// renew returns another token than expired, unless Apple's rule forbids a new one by now. The first of several concurrent
// callers signs, and all get the same token.
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

// reloadKey reads the key file again and uses a changed key. With the same key the token stays: it was not the cause of the
// refusal, and a new token for each refusal would break Apple's rule.
func (p *provider) reloadKey() {
	key, err := readKey(p.file)
	if err != nil {
		return // the file may be incomplete; the current key stays
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

// age returns the age by the clock that has advanced further: the monotonic clock stops while a host sleeps, and the wall clock
// may be set back.
func age(signed, now time.Time) time.Duration {
	return max(now.Sub(signed), now.Round(0).Sub(signed.Round(0)))
}

// readKey reads a .p8 file. Its errors do not quote the content.
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
