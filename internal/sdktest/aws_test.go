package sdktest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway/gatewaytest"
	gateway "github.com/laudspeaker/laudspeaker/gateway/http"
	"github.com/laudspeaker/laudspeaker/gateway/http/apitest"
)

// awsSignature is what the SDK of AWS makes of a request as it was received.
func awsSignature(t *testing.T, got apitest.Taken, host, body, key string) string {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", got.Header.Get("X-Amz-Date"))
	require.NoError(t, err)
	// The length is no signed header of ours: without a body the SDK leaves it out as well.
	r, err := http.NewRequest(got.Method, "http://"+host+got.Path+"?"+got.Query, nil)
	require.NoError(t, err)
	r.Header.Set("Content-Type", got.Header.Get("Content-Type"))
	sum := sha256.Sum256([]byte(body))
	who := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: key}
	require.NoError(t, v4.NewSigner().SignHTTP(context.Background(), who, r, hex.EncodeToString(sum[:]), "sns", "eu-central-1", at))
	return r.Header.Get("Authorization")
}

// TestAWS_TheSDKSignsAsWeDo: a request of a gateway of type http has the signature that AWS computes, and no other body, address or
// key has it.
func TestAWS_TheSDKSignsAsWeDo(t *testing.T) {
	const key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	var got apitest.Taken
	var host string
	server := serve(t, func(taken apitest.Taken, at string) { got, host = taken, at })
	sender, err := gateway.New("sns", config.HTTP{
		URL: server + "/a%20b/c~?b=2&a=%2B+~&a=%C3%A4", Method: http.MethodPost, Body: "Action=Publish&Message={{query .sms.body}}",
		ContentType: "application/x-www-form-urlencoded", RecipientTypes: []string{"fcm"},
		Success: config.HTTPSuccess{Status: []string{"2xx"}, StatusOnly: true}, Check: config.HTTPCheck{Method: http.MethodGet},
		OAuth2: config.HTTPOAuth2{Auth: "basic"},
		Signing: config.HTTPSigning{
			Algorithm: config.SigV4, Encoding: "hex", AccessKeyID: "AKIDEXAMPLE", Secret: key, Region: "eu-central-1", Service: "sns",
		},
	})
	require.NoError(t, err)
	defer sender.Close()
	_, err = sender.Send(t.Context(), gatewaytest.SMS(1))
	require.NoError(t, err)

	require.Equal(t, awsSignature(t, got, host, got.Body, key), got.Header.Get("Authorization"))
	flips(got.Body, func(flipped string) {
		require.NotEqual(t, awsSignature(t, got, host, flipped, key), got.Header.Get("Authorization"))
	})
	require.NotEqual(t, awsSignature(t, got, host, got.Body, key+"x"), got.Header.Get("Authorization"))
	changed := got
	changed.Query += "&c=3"
	require.NotEqual(t, awsSignature(t, changed, host, got.Body, key), got.Header.Get("Authorization"))
}
