package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/IBM/sarama"
)

func (t TLS) apply(sc *sarama.Config) error {
	if !t.Enabled {
		return nil
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return fmt.Errorf("kafka: read the CA file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("kafka: the CA file %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("kafka: a client certificate needs both its certificate file and its key file")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return fmt.Errorf("kafka: read the client certificate: %w", err)
		}
		tc.Certificates = []tls.Certificate{cert}
	}
	sc.Net.TLS.Config = tc // Enable stays false: dialBroker does TLS, below Sarama
	return nil
}

func (s SASL) apply(sc *sarama.Config) error {
	if s.Mechanism == "" {
		if s.User != "" || s.Password != "" {
			return errors.New("kafka: a SASL user or password is given without a mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return nil
	}
	if s.User == "" || s.Password == "" {
		return fmt.Errorf("kafka: SASL %s needs a user and a password", s.Mechanism)
	}
	switch s.Mechanism {
	case Plain:
	case ScramSHA256, ScramSHA512:
		sc.Net.SASL.SCRAMClientGeneratorFunc = newSCRAM(s.Mechanism)
	default:
		return fmt.Errorf("kafka: SASL mechanism %q is not known; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
	}
	sc.Net.SASL.Enable = true
	sc.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	sc.Net.SASL.User, sc.Net.SASL.Password = s.User, string(s.Password)
	return nil
}
