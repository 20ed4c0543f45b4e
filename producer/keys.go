package producer

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// Scope is what a key may do.
type Scope string

// The scopes. Admin covers the others.
const (
	ScopeSend  Scope = "send"
	ScopeRead  Scope = "read"
	ScopeAdmin Scope = "admin"
)

// Key is what the server keeps of an API key: never the key itself.
type Key struct {
	ID     string // the part of the key between its first two underscores
	Name   string // whose key it is
	SHA256 string // of the whole key, in hexadecimal
	Scopes []Scope
}

func (k *Key) may(s Scope) bool {
	return slices.Contains(k.Scopes, s) || slices.Contains(k.Scopes, ScopeAdmin)
}

// GenerateKey makes a key, ls_<id>_<secret>, and what to keep of it. The secret is 32 random bytes and a checksum, by
// which a key that was not copied whole is told from one that is not known.
func GenerateKey(name string, scopes ...Scope) (key string, kept Key) {
	var random [5 + 32]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never returns an error
	id := encode(random[:5])
	key = "ls_" + id + "_" + encode(random[5:])
	key += checksum(key)
	sum := sha256.Sum256([]byte(key))
	return key, Key{ID: id, Name: name, SHA256: hex.EncodeToString(sum[:]), Scopes: scopes}
}

// Whole reports whether key was copied whole, as far as its checksum tells.
func Whole(key string) bool {
	body := len(key) - len(checksum(""))
	return strings.HasPrefix(key, "ls_") && body > 0 && key[body:] == checksum(key[:body])
}

func checksum(s string) string {
	return encode(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(s))))
}

// encode writes bytes in letters and digits, so that a double click takes the whole key.
func encode(b []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}

// keyring finds keys by their id.
type keyring map[string]*heldKey

type heldKey struct {
	Key
	sum [sha256.Size]byte
}

func newKeyring(keys []Key) (keyring, error) {
	ring := keyring{}
	for i, k := range keys {
		held := &heldKey{Key: k}
		sum, err := hex.DecodeString(k.SHA256)
		switch {
		case k.ID == "" || strings.Contains(k.ID, "_"):
			return nil, fmt.Errorf("api.keys, entry %d: id must be the part of the key between its first two underscores", i+1)
		case err != nil || copy(held.sum[:], sum) != sha256.Size || len(sum) != sha256.Size:
			return nil, fmt.Errorf("api.keys, entry %d: sha256 must be 64 hex digits, as laudspeaker keys generate NAME prints them", i+1)
		case len(k.Scopes) == 0:
			return nil, fmt.Errorf("api.keys, entry %d: scopes must name what the key may do: send, read, admin", i+1)
		case slices.ContainsFunc(k.Scopes, func(s Scope) bool { return s != ScopeSend && s != ScopeRead && s != ScopeAdmin }):
			return nil, fmt.Errorf("api.keys, entry %d: scopes are send, read and admin", i+1)
		case ring[k.ID] != nil:
			return nil, fmt.Errorf("api.keys, entry %d: another entry has the same id", i+1)
		}
		ring[k.ID] = held
	}
	return ring, nil
}

// find gives the entry of key. The id only says which entry to compare with; the comparison takes the same time
// wherever two keys begin to differ.
func (ring keyring) find(key string) (*Key, bool) {
	prefix, rest, _ := strings.Cut(key, "_")
	id, _, _ := strings.Cut(rest, "_")
	held, known := ring[id]
	if prefix != "ls" || !known {
		return nil, false
	}
	sum := sha256.Sum256([]byte(key))
	if subtle.ConstantTimeCompare(sum[:], held.sum[:]) != 1 {
		return nil, false
	}
	return &held.Key, true
}
