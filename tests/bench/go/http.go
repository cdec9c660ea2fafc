package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

type httpClient struct {
	http   *http.Client
	prefix string
	method string
	query  string
	value  []byte
}

// newHTTPClient returns a client that keeps one connection alive.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true},
		Timeout:   30 * time.Second,
	}
}

func connectHTTP(address string, s settings) (client, error) {
	c := &httpClient{http: newHTTPClient(), prefix: "http://" + address + "/v1/kv/", value: newValue(s.valueBytes)}
	switch s.operation {
	case "put":
		c.method = http.MethodPut
	case "get":
		c.method = http.MethodGet
	case "get-linearizable":
		c.method, c.query = http.MethodGet, "?consistency=linearizable"
	default:
		return nil, fmt.Errorf("http: no operation %s", s.operation)
	}
	return c, nil
}

func (c *httpClient) do(ctx context.Context, key int) error {
	url := c.prefix + keyName(key) + c.query
	if c.method == http.MethodPut {
		_, _, err := send(ctx, c.http, http.MethodPut, url, c.value, "")
		return err
	}
	_, _, err := send(ctx, c.http, http.MethodGet, url, nil, "")
	return err
}

func (c *httpClient) close() { c.http.CloseIdleConnections() }

// A refusal is an answer outside 2xx.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// send returns the answer's body and its SLKV-Token; every status outside 2xx is a refusal.
func send(ctx context.Context, c *http.Client, method, url string, body []byte, token string) ([]byte, string, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, "", err
	}
	if token != "" {
		request.Header.Set("SLKV-Token", token)
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = &refusal{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, url, response.Status, content)}
	}
	return content, response.Header.Get("SLKV-Token"), err
}
