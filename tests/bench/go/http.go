package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

const patience = 30 * time.Second // with one request, before it counts as failed

// An httpClient has one connection to a replica, and one request under way at a time. The client of net/http takes more
// than twice as much processor time for a request, from the processors that the replica needs as well.
type httpClient struct {
	host     *fasthttp.HostClient
	request  fasthttp.Request  // what is set stays for the next
	response fasthttp.Response // until the next
}

// newHTTPClient returns a client that connects with its first request.
func newHTTPClient(address string) *httpClient {
	c := &httpClient{host: &fasthttp.HostClient{
		Addr:                      address,
		MaxConns:                  1,
		MaxIdleConnDuration:       time.Hour, // 10 s if not set: a thousand others may take longer to connect
		MaxIdemponentCallAttempts: 1,         // a PUT that fails is a failure, and may have been carried out
	}}
	c.request.Header.SetHost(address)
	c.request.Header.SetNoDefaultContentType(true)
	return c
}

// send sends one request and reads its answer; every status outside 2xx is a refusal.
func (c *httpClient) send(method, path string, body []byte) error {
	c.prepare(method, path, body)
	if err := c.host.DoTimeout(&c.request, &c.response, patience); err != nil {
		return err
	}
	return refused(&c.response)
}

func (c *httpClient) prepare(method, path string, body []byte) {
	c.request.Header.SetMethod(method)
	c.request.SetRequestURI(path)
	c.request.SetBodyRaw(body)
}

func (c *httpClient) close() { c.host.CloseIdleConnections() }

func keyPath(name string) string { return "/v1/kv/" + name }

// A refusal is an answer outside 2xx.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.body) }

func refused(response *fasthttp.Response) error {
	if status := response.StatusCode(); status/100 != 2 {
		return &refusal{status, string(response.Body())}
	}
	return nil
}

// An httpOperation is one that a load carries out on a key.
type httpOperation struct {
	method string
	query  string
	value  []byte
}

func newHTTPOperation(s settings) (httpOperation, error) {
	switch s.operation {
	case "put":
		return httpOperation{method: http.MethodPut, value: newValue(s.valueBytes)}, nil
	case "get":
		return httpOperation{method: http.MethodGet}, nil
	case "get-linearizable":
		return httpOperation{method: http.MethodGet, query: "?consistency=linearizable"}, nil
	default:
		return httpOperation{}, fmt.Errorf("http: no operation %s", s.operation)
	}
}

func (o httpOperation) path(key int) string { return keyPath(keyName(key)) + o.query }

type httpLoad struct {
	*httpClient
	operation httpOperation
}

func connectHTTP(address string, s settings) (client, error) {
	operation, err := newHTTPOperation(s)
	if err != nil {
		return nil, err
	}
	return &httpLoad{newHTTPClient(address), operation}, nil
}

func (l *httpLoad) do(key int) error {
	return l.send(l.operation.method, l.operation.path(key), l.operation.value)
}
