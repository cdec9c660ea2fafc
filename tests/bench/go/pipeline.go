package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// A pipeline is one connection to a replica that several goroutines share, as gRPC shares one to etcd: requests leave in
// the order in which they were asked for, those that are at hand in one write, and are answered in that order (RFC 9112
// section 9.3.2). The client of net/http has one request under way.
type pipeline struct {
	connection net.Conn
	request    *http.Request // what the answers are read as
	before     string        // what comes before the key in each request
	after      string        // what follows it
	asked      chan question // not written yet
	sent       chan question // not answered yet
}

type question struct {
	key      int
	answered chan error
}

const pipelineTimeout = 30 * time.Second

func connectPipeline(address string, s settings) (client, error) {
	request, body := http.MethodGet, ""
	query := ""
	switch s.operation {
	case "put":
		request, body = http.MethodPut, string(newValue(s.valueBytes))
	case "get":
	case "get-linearizable":
		query = "?consistency=linearizable"
	default:
		return nil, fmt.Errorf("http: no pipelined operation %s", s.operation)
	}
	connection, err := net.DialTimeout("tcp", address, pipelineTimeout)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\n", query, address)
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	p := &pipeline{
		connection: connection,
		request:    &http.Request{Method: request},
		before:     request + " /v1/kv/",
		after:      head + "\r\n" + body,
		asked:      make(chan question, s.depth),
		sent:       make(chan question, s.depth),
	}
	go p.write()
	go p.read()
	return p, nil
}

func (p *pipeline) do(ctx context.Context, key int) error {
	q := question{key, make(chan error, 1)}
	p.asked <- q
	select {
	case err := <-q.answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write sends what is asked for, and lets others ask before it does: gRPC's writer gives way once as well.
func (p *pipeline) write() {
	defer close(p.sent)
	writer := bufio.NewWriterSize(p.connection, 32<<10)
	for q := range p.asked {
		p.put(writer, q)
		gaveWay := false
		for {
			select {
			case q, open := <-p.asked:
				if open {
					p.put(writer, q)
					continue
				}
			default:
				if !gaveWay {
					gaveWay = true
					runtime.Gosched()
					continue
				}
			}
			break
		}
		_ = writer.Flush() // a connection that is broken is noticed by who reads
	}
}

func (p *pipeline) put(writer *bufio.Writer, q question) {
	_, _ = writer.WriteString(p.before)
	_, _ = writer.WriteString(keyName(q.key))
	_, _ = writer.WriteString(p.after)
	p.sent <- q // has room: no more are under way than there are goroutines
}

// read answers the questions in order, and from the first failure on all of them with that.
func (p *pipeline) read() {
	reader := bufio.NewReaderSize(p.connection, 32<<10)
	var failure error
	for q := range p.sent {
		if failure == nil {
			failure = p.readAnswer(reader)
		}
		q.answered <- failure
	}
}

func (p *pipeline) readAnswer(reader *bufio.Reader) error {
	if err := p.connection.SetReadDeadline(time.Now().Add(pipelineTimeout)); err != nil {
		return err
	}
	response, err := http.ReadResponse(reader, p.request)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err == nil && response.StatusCode/100 != 2 {
		text := fmt.Sprintf("%s: %s: %s", p.request.Method, response.Status, strings.TrimSpace(string(content)))
		err = &refusal{response.StatusCode, text}
	}
	return err
}

func (p *pipeline) close() {
	close(p.asked)
	_ = p.connection.Close()
}
