package main

import (
	"bufio"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// A pipeline is one connection to a replica that several goroutines share, as gRPC shares one to etcd: requests leave in
// the order in which they were asked for, those that are at hand in one write, and are answered in that order (RFC 9112
// section 9.3.2).
//
// It is no fasthttp.PipelineClient: that writes as soon as nothing more is asked for, before the others that were answered
// together have had their turn to ask, so nearly every write holds one request (1.04 of 10; here 5), and each request is
// made up anew. At 100 connections a put costs it twice the processor time. Its MaxBatchDelay does not help: what it saves
// in writes is lost to timers, and to waiting.
type pipeline struct {
	connection net.Conn
	before     string        // what comes before the key in each request
	after      string        // what follows it
	asked      chan question // not written yet
	sent       chan question // not answered yet
}

type question struct {
	key      int
	answered chan error
}

func connectPipeline(address string, s settings) (client, error) {
	operation, err := newHTTPOperation(s)
	if err != nil {
		return nil, err
	}
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	c := newHTTPClient(address)
	c.prepare(operation.method, operation.path(0), operation.value)
	before, after, _ := strings.Cut(c.request.String(), keyName(0))
	p := &pipeline{
		connection: connection,
		before:     before,
		after:      after,
		asked:      make(chan question, s.depth),
		sent:       make(chan question, s.depth),
	}
	go p.write()
	go p.read()
	return p, nil
}

func (p *pipeline) do(key int) error {
	q := question{key, make(chan error, 1)}
	p.asked <- q
	return <-q.answered
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
	var response fasthttp.Response
	var failure error
	for q := range p.sent {
		if failure == nil {
			failure = p.readAnswer(reader, &response)
		}
		q.answered <- failure
	}
}

func (p *pipeline) readAnswer(reader *bufio.Reader, response *fasthttp.Response) error {
	if err := p.connection.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := response.Read(reader); err != nil {
		return err
	}
	return refused(response)
}

func (p *pipeline) close() {
	close(p.asked)
	_ = p.connection.Close()
}
