package http

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
)

// TestSigV4_Signature repeats the example of the AWS documentation: ListUsers of IAM at 12:36:00 on 30 August 2015.
func TestSigV4_Signature(t *testing.T) {
	sg := config.HTTPSigning{
		Algorithm: "sigv4", AccessKeyID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Region: "us-east-1", Service: "iam",
	}
	u, err := url.Parse("https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers")
	require.NoError(t, err)
	c := call{method: http.MethodGet, url: u, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}}
	req := c.request(t.Context())
	s := &Sender{cfg: config.HTTP{Signing: sg}}
	s.authorise(req, nil, nil, time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC))
	require.Equal(t, "20150830T123600Z", req.Header.Get("X-Amz-Date"))
	require.Equal(t, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, "+
		"Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7", req.Header.Get("Authorization"))

	u, err = url.Parse("https://a.example/a%20b/c~/?b=2&a=%2B+~&a=%C3%A4&e")
	require.NoError(t, err)
	require.Equal(t, "/a%2520b/c~/", awsPath(u))
	require.Equal(t, "a=%2B%20~&a=%C3%A4&b=2&e=", awsQuery(u))
}
