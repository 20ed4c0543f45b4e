package http

import (
	"crypto/hmac"
	"crypto/sha1" // as an HMAC it is still sound, and some endpoints know no other
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/laudspeaker/laudspeaker/config"
)

// authorise adds the credentials in every configured way. Token may be nil.
func (s *Sender) authorise(req *http.Request, token *oauth2.Token, body []byte, now time.Time) {
	switch {
	case token != nil:
		token.SetAuthHeader(req)
	case s.cfg.Token != "":
		req.Header.Set("Authorization", "Bearer "+string(s.cfg.Token))
	case s.cfg.Username != "":
		req.SetBasicAuth(s.cfg.Username, string(s.cfg.Password))
	}
	sg := s.cfg.Signing
	switch {
	case sg.Secret == "":
		return
	case sg.Algorithm == config.SigV4:
		signAWS(req, sg, body, now)
		return
	}
	at := ""
	if sg.TimestampHeader != "" {
		at = strconv.FormatInt(now.Unix(), 10)
		req.Header.Set(sg.TimestampHeader, at)
	}
	req.Header.Set(sg.Header, sg.Prefix+signature(sg, at, body))
}

// signature returns the HMAC of the body, or of a timestamp, a dot and the body.
func signature(sg config.HTTPSigning, at string, body []byte) string {
	h := hmac.New(map[string]func() hash.Hash{"sha256": sha256.New, "sha1": sha1.New, "sha512": sha512.New}[sg.Algorithm], []byte(sg.Secret))
	if at != "" {
		h.Write([]byte(at + "."))
	}
	h.Write(body)
	if sg.Encoding == "base64" {
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	return hex.EncodeToString(h.Sum(nil))
}
