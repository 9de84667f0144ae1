// An agent that talks over NATS, and those who talk to it, with the client library for Go as it is: what it received and
// what was sent can be counted to the message.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("agent, publish or request")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	url := flags.String("url", nats.DefaultURL, "servers, separated by commas")
	subject := flags.String("subject", "", "the subject")
	queue := flags.String("queue", "q", "agent: the queue group")
	port := flags.Int("port", 0, "agent: a port to listen on; 0 is none")
	file := flags.String("file", "", "agent: what was received, a line each")
	work := flags.Duration("work", 0, "agent: how long it works on a request before it answers")
	beat := flags.String("beat", "", "agent: a subject to say every 100 ms that it is there")
	delay := flags.Duration("delay", 0, "agent: between its start and its subscription")
	rate := flags.Int("rate", 5000, "publish: messages a second")
	count := flags.Int("count", 1, "publish, request: how many")
	sender := flags.String("sender", "s", "publish: the name before each number")
	first := flags.Int("first", 0, "publish: the first number")
	timeout := flags.Duration("timeout", 30*time.Second, "request: for the answer")
	size := flags.Int("size", 0, "publish: bytes of each message at least")
	var options []nats.Option
	signIn := func(name, usage string, option func(path string) (nats.Option, error)) {
		flags.Func(name, usage, func(path string) error {
			made, err := option(path)
			options = append(options, made)
			return err
		})
	}
	signIn("ca", "a file with the authority to trust", func(path string) (nats.Option, error) {
		return nats.RootCAs(path), nil
	})
	signIn("identity", "a file with our certificate and its key", func(path string) (nats.Option, error) {
		return nats.ClientCert(path, path), nil
	})
	signIn("creds", "a file of credentials", func(path string) (nats.Option, error) {
		return nats.UserCredentials(path), nil
	})
	flags.BoolFunc("tls-first", "TLS begins before the server has said anything", func(string) error {
		options = append(options, nats.TLSHandshakeFirst())
		return nil
	})
	signIn("nkey", "a file with the seed of an nkey", nats.NkeyOptionFromSeed)
	if err := flags.Parse(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
	options = append(options, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.RetryOnFailedConnect(os.Args[1] == "agent"))
	conn, err := nats.Connect(*url, options...)
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "agent":
		agent(conn, *subject, *queue, *port, *file, *work, *beat, *delay)
	case "publish":
		publish(conn, *subject, *sender, *first, *count, *rate, *size)
	case "request":
		request(conn, *subject, *count, *timeout)
	default:
		log.Fatal("agent, publish or request")
	}
}

func agent(conn *nats.Conn, subject, queue string, port int, file string, work time.Duration, beat string, delay time.Duration) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	out := bufio.NewWriter(os.Stdout)
	if file != "" {
		opened, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			log.Fatal(err)
		}
		out = bufio.NewWriter(opened)
	}
	var lock sync.Mutex
	note := func(message *nats.Msg) {
		lock.Lock()
		defer lock.Unlock()
		fmt.Fprintf(out, "%s %s\n", message.Data, message.Header.Get("Drowse-Redelivered"))
	}
	time.Sleep(delay)
	closed := make(chan struct{})
	conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
	_, err := conn.QueueSubscribe(subject, queue, func(message *nats.Msg) {
		note(message)
		if message.Reply == "" {
			return
		}
		answer := func() {
			time.Sleep(work)
			reply := nats.NewMsg(message.Reply)
			reply.Data = message.Data
			reply.Header.Set("Pid", fmt.Sprint(os.Getpid()))
			reply.Header.Set("Subject", message.Subject)
			reply.Header.Set("Asked", message.Header.Get("Ask"))
			_ = conn.PublishMsg(reply)
		}
		if work > 0 {
			go answer()
		} else {
			answer()
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = conn.Flush()
	if port != 0 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			for {
				if taken, err := listener.Accept(); err == nil {
					taken.Close()
				}
			}
		}()
	}
	if beat != "" {
		go func() {
			for range time.Tick(100 * time.Millisecond) {
				_ = conn.Publish(beat, []byte("{}"))
			}
		}()
	}
	<-stop
	// Everything that the server has sent is handled before it ends.
	_ = conn.Drain()
	<-closed
	lock.Lock()
	out.Flush()
	os.Exit(0)
}

// Numbered messages at a fixed pace, whatever becomes of them. They are filled up with spaces.
func publish(conn *nats.Conn, subject, sender string, first, count, rate, size int) {
	begin := time.Now()
	for sent := 0; sent < count; {
		due := int(time.Since(begin).Seconds()*float64(rate)) + 1
		for ; sent < due && sent < count; sent++ {
			if err := conn.Publish(subject, fmt.Appendf(nil, "%-*s", size, fmt.Sprintf("%s:%d", sender, first+sent))); err != nil {
				log.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
	}
	if err := conn.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(count)
}

func request(conn *nats.Conn, subject string, count int, timeout time.Duration) {
	for n := range count {
		ask := nats.NewMsg(subject)
		ask.Data = fmt.Appendf(nil, "r:%d", n)
		ask.Header.Set("Ask", fmt.Sprint(n))
		reply, err := conn.RequestMsg(ask, timeout)
		if err != nil {
			fmt.Printf("%d: %v\n", n, err)
			continue
		}
		fmt.Printf("%d: %s %v\n", n, reply.Data, reply.Header)
	}
}
