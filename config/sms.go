package config

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// SMS configures opt-outs and inbound text messages.
type SMS struct {
	OptOutScope string   `yaml:"opt_out_scope" default:"sender" enum:"sender,tenant" doc:"What an opt-out stops. sender: the texts of the sender to whom the recipient said STOP; other senders of the route go on. tenant: all texts of the tenant to this recipient. It counts for the opt-outs that come from now on."`
	StopWords   []string `yaml:"stop_words" doc:"Further words by which a recipient opts out, beside STOP, STOPALL, UNSUBSCRIBE, CANCEL, END, QUIT, OPTOUT and REVOKE. The whole text has to be the word; upper and lower case count the same." example:"[ARRET, BAJA]"`
	StartWords  []string `yaml:"start_words" doc:"Further words that take an opt-out back, beside START, YES and UNSTOP." example:"[ALTA]"`
	HelpWords   []string `yaml:"help_words" doc:"Further words that ask for help, beside HELP and INFO." example:"[AIDE]"`
	Inbound     string   `yaml:"inbound" default:"masked" enum:"masked,full" doc:"Content of the event for an inbound text. masked: the keyword and the masked number. full: also the number and the text, in Kafka and in the status store."`
}

// maxWord is how long a keyword may be: one segment.
const maxWord = 160

func (s SMS) check(fs *Faults) {
	lists := map[string][]string{"stop_words": s.StopWords, "start_words": s.StartWords, "help_words": s.HelpWords}
	own, defaults := map[string]string{}, DefaultKeywords()
	for _, key := range []string{"stop_words", "start_words", "help_words"} {
		for i, word := range lists[key] {
			w := strings.ToUpper(strings.TrimSpace(word))
			fs.unless(w != "" && len(w) <= maxWord, "sms.%s, entry %d must be a word of 1 to %d bytes", key, i+1, maxWord)
			other, taken := own[w]
			fs.unless(!taken || other == key, "sms.%s has a word that is also in sms.%s: leave it in one of them", key, other)
			own[w] = key
			for meaning, words := range defaults {
				fs.unless(meaning == key || !slices.Contains(words, w), "sms.%s has %s, which has another meaning already: leave it out", key, w)
			}
		}
	}
}

// DefaultKeywords lists the words that have a meaning without configuration, by the key that adds to them. They are those of Twilio
// (https://help.twilio.com/articles/223134027 and https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out).
func DefaultKeywords() map[string][]string {
	return map[string][]string{
		"stop_words":  {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"},
		"start_words": {"START", "YES", "UNSTOP"},
		"help_words":  {"HELP", "INFO"},
	}
}

// textSender is what texts can come from and a reply can go to: an E.164 number or a short code.
var textSender = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[0-9]{3,8})$`)

// OwnSender returns the sender of texts that name none: the messaging service goes before the number. Empty: there is none.
func (t *Twilio) OwnSender() string { return cmp.Or(t.MessagingServiceSID, t.From) }

// OwnSender returns the sender of texts that name none; empty where only the provider knows.
func (g Gateway) OwnSender() string {
	switch {
	case g.Twilio != nil:
		return g.Twilio.OwnSender()
	case g.HTTP != nil:
		return g.HTTP.From
	default:
		return ""
	}
}
