package config

import (
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// HTTP is the section of a gateway of type http: an API that takes messages over HTTP and is described here instead of in
// code. url, headers and body are Go templates (docs/gateway-http.md).
type HTTP struct {
	Limits `yaml:",inline"`

	Method         string            `yaml:"method" default:"POST" enum:"POST,PUT,PATCH,GET" doc:"Method of the request."`
	URL            string            `yaml:"url" doc:"Address of the API, a template behind the host. https, unless on loopback." example:"https://api.example.com/v1/messages"`
	Headers        map[string]string `yaml:"headers" doc:"Headers of the request, their values templates; one that comes out empty is left out." example:"{Idempotency-Key: '{{.id}}'}"`
	Body           string            `yaml:"body" doc:"Body of the request, a template. In JSON every value goes through json, in a form through query." example:"{\"to\": {{json .address}}, \"text\": {{json .sms.body}}}"`
	ContentType    string            `yaml:"content_type" default:"application/json" doc:"Type of the body."`
	Username       string            `yaml:"username" doc:"User name of basic authentication."`
	Password       Secret            `yaml:"password" doc:"Password of the user."`
	Token          Secret            `yaml:"token" doc:"Token that goes as Authorization: Bearer."`
	OAuth2         HTTPOAuth2        `yaml:"oauth2" doc:"Access tokens by the client credentials grant of OAuth 2.0, which go as Authorization: Bearer."`
	Secret         Secret            `yaml:"secret" doc:"What templates insert as {{secret}}, for an API that wants its key elsewhere."`
	Signing        HTTPSigning       `yaml:"signing" doc:"Signature of the body, for an endpoint that checks who calls."`
	From           string            `yaml:"from" doc:"Sender of messages that name none; templates have it as {{.from}}."`
	Success        HTTPSuccess       `yaml:"success" doc:"When an answer says that the message was taken."`
	IDPath         string            `yaml:"id_path" doc:"Where the provider's id is in its JSON answer, as a JSON Pointer (RFC 6901); * stands for every element of an array. An answer that says yes without it is no provider's: ambiguous." example:"/messages/0/id"`
	IDMatch        string            `yaml:"id_match" doc:"Regular expression whose group is the provider's id, for answers in text, XML or a form; in place of id_path." example:"^ID: (\\S+)"`
	CodePath       string            `yaml:"code_path" doc:"Where the provider's code is in its JSON answer, as a JSON Pointer; with *, the codes of all parts are compared with the rules." example:"/error/code"`
	CodeMatch      string            `yaml:"code_match" doc:"Regular expression whose group is the provider's code, for answers in text, XML or a form; in place of code_path. All matches are compared with the rules." example:"<code>(\\d+)</code>"`
	Rules          []HTTPRule        `yaml:"rules" doc:"What answers mean, where the usual table does not say it; the first that fits counts. status, code and match (a regular expression) select answers. verdict is permanent, gone (about the recipient), transient, throttled, unavailable or ambiguous; reason, for gone, is recipient_gone, opted_out or bad_recipient." example:"[{status: 400, code: ['21610'], verdict: gone, reason: opted_out}]"`
	RecipientTypes []string          `yaml:"recipient_types" default:"fcm,topic,condition" doc:"Recipient types of channel push that the API takes."`
	Receipts       HTTPReceipts      `yaml:"receipts" doc:"What became of messages, as the API or something beside it says later."`
	Check          HTTPCheck         `yaml:"check" doc:"Request of laudspeaker gateways check."`
	Timeout        time.Duration     `yaml:"timeout" default:"8s" doc:"Deadline of one attempt."`
}

// HTTPSuccess is the section of what an accepting answer looks like. All that is set has to hold.
type HTTPSuccess struct {
	Status Statuses `yaml:"status" default:"2xx" doc:"Statuses of success." example:"[200, 202]"`
	Path   string   `yaml:"path" doc:"Where the JSON answer says so, as a JSON Pointer; without values it has to exist. With * every element has to say so." example:"/messages/*/status"`
	Match  string   `yaml:"match" doc:"Regular expression that an accepting answer in text, XML or a form matches; in place of path. With values, the text of its group has to be one of them, at every match." example:"^OK\\b"`
	Values []string `yaml:"values" doc:"What may stand there, as text." example:"['0', queued]"`

	StatusOnly bool `yaml:"status_only" doc:"The API reports refusals by the HTTP status alone, so the body of an answer is not looked at. Without it, path, match, id_path and id_match the start warns: an API that answers 200 to what it refuses would count as success."`
}

// HTTPRule holds the verdict for the responses that have one of the statuses, have one of the codes and match the regular
// expression. An empty field fits every response.
type HTTPRule struct {
	Status  Statuses `yaml:"status"`
	Code    []string `yaml:"code"`
	Match   string   `yaml:"match"`
	Verdict string   `yaml:"verdict"`
	Reason  string   `yaml:"reason"`
}

// HTTPSigning is the section of an HMAC over the body, or over timestamp + "." + body.
type HTTPSigning struct {
	Secret          Secret `yaml:"secret" doc:"Key of the HMAC, or the secret access key of AWS; empty signs nothing."`
	Header          string `yaml:"header" doc:"Header of the signature." example:"X-Signature"`
	Algorithm       string `yaml:"algorithm" default:"sha256" enum:"sha256,sha1,sha512,sigv4" doc:"Hash of the HMAC, or sigv4: Signature Version 4 of AWS over the whole request, which needs access_key_id, region and service and no header."`
	Encoding        string `yaml:"encoding" default:"hex" enum:"hex,base64" doc:"How the signature is written."`
	Prefix          string `yaml:"prefix" doc:"What stands before it." example:"sha256="`
	TimestampHeader string `yaml:"timestamp_header" doc:"Header of the time in Unix seconds, which is then signed too: time, dot, body." example:"X-Timestamp"`
	AccessKeyID     string `yaml:"access_key_id" doc:"With sigv4: id of the access key." example:"AKIAIOSFODNN7EXAMPLE"`
	Region          string `yaml:"region" doc:"With sigv4: region of the service." example:"eu-central-1"`
	Service         string `yaml:"service" doc:"With sigv4: name of the service." example:"sns"`
}

// HTTPOAuth2 is the section of an API that takes access tokens which a token endpoint gives for the client's credentials.
type HTTPOAuth2 struct {
	TokenURL     string            `yaml:"token_url" doc:"Address of the token endpoint; empty asks for no tokens. https, unless on loopback." example:"https://login.example.com/oauth2/token"`
	ClientID     string            `yaml:"client_id" doc:"Id of the client."`
	ClientSecret Secret            `yaml:"client_secret" doc:"Secret of the client."`
	Scopes       []string          `yaml:"scopes" doc:"Scopes to ask for." example:"[messages.send]"`
	Params       map[string]string `yaml:"params" doc:"Further fields of the token request, such as audience." example:"{audience: 'https://api.example.com'}"`
	Auth         string            `yaml:"auth" default:"basic" enum:"basic,post" doc:"How the token endpoint takes id and secret: by basic authentication, or as fields of the request."`
}

// On reports whether tokens are asked for.
func (o HTTPOAuth2) On() bool { return o.TokenURL != "" }

func (o HTTPOAuth2) check(fs *Faults, key string) {
	if !o.On() {
		fs.unless(o.ClientID == "" && o.ClientSecret == "" && len(o.Scopes)+len(o.Params) == 0, "%s.oauth2 needs token_url, the address of the token endpoint", key)
		return
	}
	u, err := url.Parse(o.TokenURL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		fs.add("%s.oauth2.token_url must be an address such as https://login.example.com/oauth2/token, without user and #", key)
	} else {
		fs.unless(!strings.Contains(o.TokenURL, "{{"), "%s.oauth2.token_url is no template: one token serves all messages, so write the address as it is", key)
		checkScheme(fs, key+".oauth2.token_url", u)
	}
	fs.unless(o.ClientID != "", "%s.oauth2 needs client_id", key)
	fs.unless(o.ClientSecret != "", "%s.oauth2 needs client_secret", key)
	fs.unless(!broken(o.ClientID+string(o.ClientSecret)), "%s.oauth2.client_id and client_secret must be one line each: look for line ends around them", key)
	for _, scope := range o.Scopes {
		fs.unless(scope != "" && visible.MatchString(scope), "%s.oauth2.scopes has an entry with blanks or letters beyond ASCII: write each scope as an entry of its own", key)
	}
	for _, name := range sortedKeys(o.Params) {
		fs.unless(!slices.Contains([]string{"grant_type", "client_id", "client_secret", "scope"}, name), "%s.oauth2.params must not set %s: it has a setting of its own, or follows from the grant", key, name)
	}
}

// SigV4 is the algorithm of [HTTPSigning] that signs the request as AWS requires.
const SigV4 = "sigv4"

// HTTPCheck is the section of the request that tries the credentials. Without a URL the check only connects.
type HTTPCheck struct {
	Method string `yaml:"method" default:"GET" enum:"GET,HEAD,POST" doc:"Method of the check."`
	URL    string `yaml:"url" doc:"Address that answers 2xx to good credentials and sends nothing, at the host of url; empty: the check connects and says no more." example:"https://api.example.com/v1/account"`
}

// Verdicts of [HTTPRule].
var (
	httpVerdicts = []string{"permanent", "gone", "transient", "throttled", "unavailable", "ambiguous"}
	httpReasons  = []string{"recipient_gone", "opted_out", "bad_recipient"}
	pushTypes    = []string{"fcm", "apns", "webpush", "topic", "condition"}
)

var (
	// The host ends at the first / or ?, and no template can stand before that.
	literalHost = regexp.MustCompile(`^(https?)://([^/?#@{}\\\s]+)([/?].*)?$`)
	headerName  = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	visible     = regexp.MustCompile(`^[!-~]*$`)
	// What net/http decides, or a setting of its own does.
	ownHeaders = []string{"Accept-Encoding", "Connection", "Content-Length", "Content-Type", "Host", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}
)

// Faults gives everything that is wrong with the section, for whoever did not get it from [Load].
func (h *HTTP) Faults(key string) Faults {
	var fs Faults
	for _, leaf := range leaves(key, h) {
		checkEnum(&fs, leaf)
	}
	h.check(&fs, key)
	return fs
}

// Base gives the scheme and host of the API, as https://api.example.com, which no template can change; "" for a wrong url.
func (h *HTTP) Base() string {
	if parts := literalHost.FindStringSubmatch(h.URL); parts != nil {
		return parts[1] + "://" + parts[2]
	}
	return ""
}

func (h *HTTP) check(fs *Faults, key string) {
	if base := h.Base(); base == "" {
		fs.add("%s.url must be an address such as https://api.example.com/v1/messages, with scheme and host written out and no user, # or line end; templates may follow the host", key)
	} else {
		checkURL(fs, key+".url", base)
	}
	fs.unless(h.Check.URL == "" || h.Base() != "" && (&HTTP{URL: h.Check.URL}).Base() == h.Base(), "%s.check.url must be at the scheme and host of %s.url, where the credentials go", key, key)
	fs.unless(h.Method != http.MethodGet || h.Body == "", "%s.body is set, and a GET has none: put the message into the url, or set another method", key)
	_, _, err := mime.ParseMediaType(h.ContentType)
	fs.unless(h.ContentType == "" || err == nil && !broken(h.ContentType), "%s.content_type must be a media type such as application/json", key)
	fs.unless(h.ContentType != "" || h.Body == "", "%s.content_type must name the type of the body, such as application/json", key)
	fs.unless(len(h.RecipientTypes) > 0, "%s.recipient_types must name what the API takes: %s", key, strings.Join(pushTypes, ", "))
	for _, t := range h.RecipientTypes {
		fs.unless(slices.Contains(pushTypes, t), "%s.recipient_types has a type that is not known; there are %s", key, strings.Join(pushTypes, ", "))
	}
	h.Receipts.check(fs, key)
	h.checkCredentials(fs, key)
	h.checkHeaders(fs, key)
	h.checkAnswers(fs, key)
}

func (h *HTTP) checkCredentials(fs *Faults, key string) {
	fs.unless((h.Username == "") == (h.Password == ""), "%s.username and %s.password belong together: set both or none", key, key)
	fs.unless(!strings.ContainsRune(h.Username, ':'), "%s.username must not have a colon: it would end there", key)
	fs.unless(visible.MatchString(string(h.Token)), "%s.token has blanks, line ends or letters beyond ASCII: look around it", key)
	ways := 0
	s := h.Signing
	for _, set := range []bool{h.Username != "", h.Token != "", h.OAuth2.On(), hasHeader(h.Headers, "Authorization"), s.Algorithm == SigV4} {
		if set {
			ways++
		}
	}
	fs.unless(ways < 2, "%s sets the header Authorization more than once: keep one of username with password, token, oauth2, headers.Authorization, and signing.algorithm sigv4", key)
	h.OAuth2.check(fs, key)
	if s.Algorithm == SigV4 {
		s.checkAWS(fs, key)
		return
	}
	fs.unless(s.AccessKeyID+s.Region+s.Service == "", "%s.signing.access_key_id, region and service are for algorithm: sigv4", key)
	fs.unless((s.Secret == "") == (s.Header == ""), "%s.signing.secret and %s.signing.header belong together: set both or none", key, key)
	fs.unless(s.Secret != "" || s.Prefix == "" && s.TimestampHeader == "", "%s.signing needs a secret and a header", key)
	fs.unless(!broken(s.Prefix), "%s.signing.prefix must be one line", key)
}

func (s HTTPSigning) checkAWS(fs *Faults, key string) {
	fs.unless(s.Secret != "" && awsName.MatchString(s.AccessKeyID) && awsName.MatchString(s.Region) && awsName.MatchString(s.Service),
		"%s.signing with algorithm sigv4 needs secret (the secret access key), access_key_id, region and service, such as eu-central-1 and sns", key)
	fs.unless(s.Header+s.Prefix+s.TimestampHeader == "", "%s.signing.header, prefix and timestamp_header have no meaning with algorithm sigv4: leave them out", key)
}

var awsName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func (h *HTTP) checkHeaders(fs *Faults, key string) {
	seen := map[string]bool{"X-Amz-Date": h.Signing.Algorithm == SigV4}
	for _, name := range []string{h.Signing.Header, h.Signing.TimestampHeader} {
		if name != "" {
			checkHeaderName(fs, key+".signing", name, seen)
		}
	}
	for _, name := range sortedKeys(h.Headers) {
		checkHeaderName(fs, key+".headers", name, seen)
		fs.unless(!broken(h.Headers[name]), "%s.headers.%s must be one line", key, name)
		fs.unless(!strings.EqualFold(name, "Authorization") || strings.Contains(h.Headers[name], "{{"),
			"%s.headers.%s is a credential in the clear: set token, or username and password, or secret and write {{secret}}", key, name)
	}
}

func checkHeaderName(fs *Faults, key, name string, seen map[string]bool) {
	canonical := http.CanonicalHeaderKey(name)
	fs.unless(headerName.MatchString(name), "%s has a name that cannot be a header's: write letters, digits and hyphens", key)
	fs.unless(!slices.Contains(ownHeaders, canonical), "%s must not set the header %s: it follows from the request, and the type of the body is content_type", key, canonical)
	fs.unless(!seen[canonical], "%s sets a header that is set already: keep one", key)
	seen[canonical] = true
}

// broken reports whether text does not fit into one line of a request.
func broken(text string) bool { return strings.ContainsAny(text, "\r\n\x00") }

func hasHeader(headers map[string]string, name string) bool {
	return slices.ContainsFunc(sortedKeys(headers), func(k string) bool { return strings.EqualFold(k, name) })
}

// hasSender: a request that shows no sender needs none.
func (h *HTTP) hasSender() bool {
	texts := []string{h.URL, h.Body}
	for _, value := range h.Headers {
		texts = append(texts, value)
	}
	return h.From != "" || !showsSender.MatchString(strings.Join(texts, "\n"))
}

// The whole message shows its sender too, but an endpoint that takes whole messages can read that there is none.
var showsSender = regexp.MustCompile(`\{\{[^}]*\.from\b[^}]*\}\}`)
