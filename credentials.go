package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"coder-chats-mcp/client"
)

// credentials are a deployment and a token for it.
type credentials struct{ url, token string }

// findCredentials completes what flags and environment give with what `coder login` stored. A stored session is of one deployment and goes to no
// other: a token that travels to a foreign host is a stolen token.
func findCredentials(address, token string) (credentials, error) {
	if address != "" && token != "" {
		return credentials{url: address, token: token}, nil
	}
	stored, err := storedLogin()
	if err != nil {
		return credentials{}, err
	}
	switch {
	case address == "" && stored.url == "":
		return credentials{}, errNoCredentials
	case address == "":
		address = stored.url
	}
	if token == "" && !sameDeployment(address, stored.url) {
		return credentials{}, fmt.Errorf("no token for %s: set CODER_SESSION_TOKEN, or run `coder login %s`", withoutUser(address), withoutUser(address))
	}
	if token == "" {
		token = stored.token
	}
	if token == "" {
		return credentials{}, errNoCredentials
	}
	return credentials{url: address, token: token}, nil
}

// storedLogin reads the files that `coder login` leaves in its config directory.
func storedLogin() (credentials, error) {
	dir := os.Getenv("CODER_CONFIG_DIR")
	if dir == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return credentials{}, nil // no home, no login
		}
		dir = filepath.Join(base, "coderv2")
	}
	var c credentials
	for name, field := range map[string]*string{"url": &c.url, "session": &c.token} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("the login of Coder's command line cannot be read: %w", err)
		}
		*field = strings.TrimSpace(string(content))
	}
	return c, nil
}

func sameDeployment(a, b string) bool {
	host, err := client.NewHost(a, client.Options{})
	other, err2 := url.Parse(b)
	return err == nil && err2 == nil && host.Serves(other)
}

// withoutUser is the address as a message may show it.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "that address"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
