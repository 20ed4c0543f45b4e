package cmd

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
	"github.com/laudspeaker/laudspeaker/gateway/apns"
	"github.com/laudspeaker/laudspeaker/gateway/apns/apnstest"
	"github.com/laudspeaker/laudspeaker/gateway/fcm"
	"github.com/laudspeaker/laudspeaker/gateway/fcm/fcmtest"
	"github.com/laudspeaker/laudspeaker/internal/notify"
	"github.com/laudspeaker/laudspeaker/internal/validate"
)

// A push that gets a 202 is one that a gateway can send: neither the SDK nor the provider has rules that validation does not know.
func TestPush_WhatIsAcceptedIsSent(t *testing.T) {
	apple := apnstest.New(t, false)
	a, err := apns.New("apples", config.APNs{
		TeamID: apnstest.TeamID, KeyID: apnstest.KeyID, KeyFile: apple.KeyFile, Topic: apnstest.Topic,
		Environment: "production", Endpoint: apple.URL, Timeout: 30 * time.Second,
	})
	require.NoError(t, err)
	defer a.Close()
	google := fcmtest.New(t, false)
	f, err := fcm.New("pushes", config.FCM{ProjectID: fcmtest.Project, Endpoint: google.URL, Token: fcmtest.Token, Timeout: 30 * time.Second})
	require.NoError(t, err)
	defer f.Close()

	files, err := filepath.Glob("../internal/validate/testdata/valid/*.json")
	require.NoError(t, err)
	sent := map[string]int{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		n, _, faults := validate.Decode(raw, true)
		require.Empty(t, faults)
		if n.Channel != notify.ChannelPush {
			continue
		}
		m, faults := validate.Rules{RecipientTypes: notify.RecipientTypes()}.Check(n)
		require.Empty(t, faults, file)
		m.ID = notify.NewID()
		var s gateway.Sender = f
		if m.RecipientType == notify.RecipientAPNs {
			s = a
		}
		_, err = s.Send(t.Context(), m)
		if f := notify.Judge(err); f != nil && f.Code == "TopicDisallowed" {
			continue // the fixture names an app that the fake does not have
		}
		require.NoError(t, err, file)
		sent[m.RecipientType]++
	}
	require.Greater(t, sent[notify.RecipientAPNs], 5)
	require.Greater(t, sent[notify.RecipientFCM], 5)
}
