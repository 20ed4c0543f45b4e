package fcm

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"

	"golang.org/x/oauth2"
	googleauth "golang.org/x/oauth2/google"

	"github.com/laudspeaker/laudspeaker/config"
	"github.com/laudspeaker/laudspeaker/gateway"
)

const scope = "https://www.googleapis.com/auth/firebase.messaging"

// credentials returns access tokens. Google's token sources support no context and keep a token for its hour. So credentials
// waits here, and opens the source again after a refused token.
type credentials struct {
	open  func() (oauth2.TokenSource, error)
	close context.CancelFunc // ends a request for a token that nobody waits for any more

	flight gateway.TokenFlight
	mu     sync.Mutex
	source oauth2.TokenSource // nil: to be opened
}

func (c *credentials) token(ctx context.Context) (*oauth2.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.flight.Token(ctx, func() (*oauth2.Token, error) {
		source, err := c.opened()
		if err != nil {
			return nil, err
		}
		return source.Token()
	})
}

func (c *credentials) opened() (oauth2.TokenSource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.source != nil {
		return c.source, nil
	}
	source, err := c.open()
	if err == nil {
		c.source = source
	}
	return source, err
}

// forget drops the token, and reads the credentials again before the next one.
func (c *credentials) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = nil
}

// authenticate returns the credentials of the section, and the project if the section names none.
func (s *Sender) authenticate(name string, cfg config.FCM) (project string, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.http.TokenClient(ctx))
	find := func() (*googleauth.Credentials, error) {
		switch {
		case cfg.Token != "":
			return &googleauth.Credentials{TokenSource: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(cfg.Token)})}, nil
		case cfg.CredentialsFile != "":
			return serviceAccount(ctx, cfg.CredentialsFile)
		}
		return googleauth.FindDefaultCredentials(ctx, scope)
	}
	found, err := find()
	if err != nil {
		cancel()
		return "", fault(name, "credentials_file", "needs the service account's JSON of the Firebase project, or Google's application default credentials on this host: "+err.Error())
	}
	project = cfg.ProjectID
	if project == "" {
		project = found.ProjectID
	}
	if !projectID.MatchString(project) {
		cancel()
		return "", fault(name, "project_id", "set the Firebase project; the credentials do not name it")
	}
	s.credentials = &credentials{close: cancel, source: found.TokenSource, open: func() (oauth2.TokenSource, error) {
		found, err := find()
		if err != nil {
			return nil, err
		}
		return found.TokenSource, nil
	}}
	return project, nil
}

// serviceAccount parses the JSON file that the Firebase console creates. Its errors do not quote the file.
func serviceAccount(ctx context.Context, file string) (*googleauth.Credentials, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var account struct {
		TokenURI string `json:"token_uri"`
	}
	if json.Unmarshal(text, &account) != nil {
		return nil, errors.New("the file is not JSON")
	}
	if account.TokenURI != "" {
		if _, err := gateway.BaseURL(account.TokenURI); err != nil {
			return nil, errors.New("token_uri in the file " + err.Error())
		}
	}
	found, err := googleauth.CredentialsFromJSONWithType(ctx, text, googleauth.ServiceAccount, scope)
	if err != nil {
		return nil, errors.New("the file is not that of a service account")
	}
	return found, nil
}
