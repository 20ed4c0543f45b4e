package http

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/laudspeaker/laudspeaker/config"
)

// signAWS signs a request by Signature Version 4 of AWS
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
func signAWS(req *http.Request, sg config.HTTPSigning, body []byte, now time.Time) {
	at := now.UTC().Format("20060102T150405Z")
	day := at[:8]
	req.Header.Set("X-Amz-Date", at)
	headers := [][2]string{{"host", req.Host}, {"x-amz-date", at}}
	if kind := req.Header.Get("Content-Type"); kind != "" {
		headers = slices.Insert(headers, 0, [2]string{"content-type", kind})
	}
	var canonical, names []string
	for _, h := range headers {
		canonical, names = append(canonical, h[0]+":"+strings.Join(strings.Fields(h[1]), " ")+"\n"), append(names, h[0])
	}
	signed := strings.Join(names, ";")
	request := strings.Join([]string{
		req.Method, awsPath(req.URL), awsQuery(req.URL), strings.Join(canonical, ""), signed, hexHash(body),
	}, "\n")
	scopes := []string{day, sg.Region, sg.Service, "aws4_request"}
	scope := strings.Join(scopes, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", at, scope, hexHash([]byte(request))}, "\n")
	key := []byte("AWS4" + string(sg.Secret))
	for _, part := range scopes {
		key = hmacSHA256(key, part)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+sg.AccessKeyID+"/"+scope+", SignedHeaders="+signed+
		", Signature="+hex.EncodeToString(hmacSHA256(key, text)))
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexHash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// awsPath returns the path as AWS signs it: services other than S3 encode the encoded path once more.
func awsPath(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		return "/"
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = awsEscape(s)
	}
	return strings.Join(segments, "/")
}

// awsQuery returns the parameters in the order of their encoded names and values.
func awsQuery(u *url.URL) string {
	var pairs [][2]string
	for name, values := range u.Query() {
		for _, value := range values {
			pairs = append(pairs, [2]string{awsEscape(name), awsEscape(value)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if order := strings.Compare(a[0], b[0]); order != 0 {
			return order
		}
		return strings.Compare(a[1], b[1])
	})
	encoded := make([]string, len(pairs))
	for i, p := range pairs {
		encoded[i] = p[0] + "=" + p[1]
	}
	return strings.Join(encoded, "&")
}

// awsEscape encodes all characters but the unreserved ones of RFC 3986.
func awsEscape(s string) string {
	return awsEscapes.Replace(url.QueryEscape(s))
}

// awsEscapes are the differences from [url.QueryEscape].
var awsEscapes = strings.NewReplacer("+", "%20", "%7E", "~")
