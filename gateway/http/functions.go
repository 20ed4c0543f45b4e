package http

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"text/template"
)

// hidden is the function that the guard appends to every value.
const hidden = "_text"

// functions are the functions of templates in addition to Go's own (https://pkg.go.dev/text/template#hdr-Functions).
func functions(secret string) template.FuncMap {
	return template.FuncMap{
		"json": asJSON, "query": asQuery, "path": asPath, "base64": asBase64, "default": orElse,
		"mail_address": mailAddress, "mail_name": mailName, hidden: text,
		"secret": func() string { return secret },
	}
}

// valueError is the reason for which a function refuses a value, without the value.
type valueError string

func (e valueError) Error() string { return string(e) }

// asJSON returns v as JSON, including the quotes of a string.
func asJSON(v any) (string, error) {
	if v == nil {
		return "", valueError("a value is missing")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", valueError("a value cannot be written as JSON")
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

func asQuery(v any) (string, error) {
	s, err := text(v)
	return url.QueryEscape(s), err
}

// asPath returns v as one segment of a path. Servers would read "", "." and ".." as another path.
func asPath(v any) (string, error) {
	s, err := text(v)
	if err == nil && (s == "" || s == "." || s == "..") {
		return "", valueError("a value makes no segment of a path")
	}
	return url.PathEscape(s), err
}

func asBase64(v any) (string, error) {
	if b, ok := v.([]byte); ok {
		return base64.StdEncoding.EncodeToString(b), nil
	}
	s, err := text(v)
	return base64.StdEncoding.EncodeToString([]byte(s)), err
}

// orElse returns v, or fallback if v is empty.
func orElse(fallback, v any) any {
	if full, ok := template.IsTrue(v); ok && full {
		return v
	}
	return fallback
}

// mailAddress and mailName split a mailbox: Acme <no-reply@acme.example>.
func mailAddress(mailbox string) (string, error) {
	a, err := mail.ParseAddress(mailbox)
	if err != nil {
		return "", valueError("a value is no mailbox")
	}
	return a.Address, nil
}

func mailName(mailbox string) (string, error) {
	a, err := mail.ParseAddress(mailbox)
	if err != nil {
		return "", valueError("a value is no mailbox")
	}
	return a.Name, nil
}

// text is applied to every value that a template prints.
func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int, float64, bool, json.Number:
		return fmt.Sprint(v), nil
	case nil:
		return "", valueError("a value is missing")
	}
	return "", valueError("a value is no text: write it with json, or take one field of it")
}
