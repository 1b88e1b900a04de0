// The two ends of an edge for the tests beside this file: clients that use the Go SDK in JSON and
// protobuf, a backend over the HTTP API, and a proxy that breaks connections. run.py says in the
// variable EDGE where the edges are.

package clients

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// edge is what run.py started.
var edge struct {
	Websocket, Internal, Strict, Leaving, Secret, Key string
	LeavingPid                                        int `json:"leaving_pid"`
}

func TestMain(m *testing.M) {
	if err := json.Unmarshal([]byte(os.Getenv("EDGE")), &edge); err != nil {
		fmt.Fprintln(os.Stderr, "these tests are started by run.py:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

const (
	path    = "/connection/websocket"
	patient = 30 * time.Second
)

// forms are the two forms of the protocol.
var forms = map[string]func(string, centrifuge.Config) *centrifuge.Client{
	"json":     centrifuge.NewJsonClient,
	"protobuf": centrifuge.NewProtobufClient,
}

// inBoth runs a test in both forms of the protocol.
func inBoth(t *testing.T, test func(t *testing.T, form string)) {
	for form := range forms {
		t.Run(form, func(t *testing.T) { test(t, form) })
	}
}

var made struct {
	sync.Mutex
	count int
}

// fresh is a name that no other test uses.
func fresh(prefix string) string {
	made.Lock()
	defer made.Unlock()
	made.count++
	return fmt.Sprintf("%sgo%d", prefix, made.count)
}

type claims map[string]any

// inSeconds is a time from now, as tokens have it.
func inSeconds(seconds int64) int64 { return time.Now().Unix() + seconds }

func token(content claims) string {
	encode := base64.RawURLEncoding.EncodeToString
	body, _ := json.Marshal(content)
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(body)
	mac := hmac.New(sha256.New, []byte(edge.Secret))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// log is what happened so far, in order.
type log[T any] struct {
	mutex sync.Mutex
	items []T
}

func (l *log[T]) add(item T) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.items = append(l.items, item)
}

func (l *log[T]) all() []T {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]T{}, l.items...)
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, found, wanted T) {
	t.Helper()
	if one, other := fmt.Sprint(found), fmt.Sprint(wanted); one != other {
		t.Fatalf("%s instead of %s", one, other)
	}
}

// client is one of the SDK, and what became of it.
type client struct {
	*centrifuge.Client
	connected    log[centrifuge.ConnectedEvent]
	connecting   log[uint32]
	disconnected log[uint32]
	subscribed   log[centrifuge.ServerSubscribedEvent]
	unsubscribed log[string]
	heard        log[string]
}

// connect begins a client; without a token or a way to get one it has one of the user.
func connect(t *testing.T, form, user, url string, config centrifuge.Config) *client {
	if config.Token == "" && config.GetToken == nil {
		config.Token = token(claims{"sub": user})
	}
	config.MinReconnectDelay, config.MaxReconnectDelay = 20*time.Millisecond, 300*time.Millisecond
	config.HandshakeTimeout, config.ReadTimeout, config.WriteTimeout = patient, patient, patient
	one := &client{Client: forms[form](url, config)}
	t.Cleanup(one.Close)
	one.OnConnected(one.connected.add)
	one.OnConnecting(func(event centrifuge.ConnectingEvent) { one.connecting.add(event.Code) })
	one.OnDisconnected(func(event centrifuge.DisconnectedEvent) { one.disconnected.add(event.Code) })
	one.OnSubscribed(one.subscribed.add)
	one.OnUnsubscribed(func(event centrifuge.ServerUnsubscribedEvent) {
		one.unsubscribed.add(event.Channel)
	})
	one.OnPublication(func(event centrifuge.ServerPublicationEvent) {
		one.heard.add(event.Channel + " " + string(event.Data))
	})
	must(t, one.Connect())
	return one
}

// join is a client of the main edge that is connected.
func join(t *testing.T, form, user string, config centrifuge.Config) *client {
	t.Helper()
	one := connect(t, form, user, edge.Websocket+path, config)
	until(t, "it connects", func() bool { return one.State() == centrifuge.StateConnected })
	return one
}

// subscription is one of the SDK, and what it brought.
type subscription struct {
	*centrifuge.Subscription
	heard   log[string]
	begun   log[centrifuge.SubscribedEvent]
	pauses  log[uint32]
	ended   log[uint32]
	comings log[string]
}

// listen begins a subscription.
func (c *client) listen(
	t *testing.T, channel string, config centrifuge.SubscriptionConfig,
) *subscription {
	t.Helper()
	config.MinResubscribeDelay, config.MaxResubscribeDelay = 10*time.Millisecond, 50*time.Millisecond
	made, err := c.NewSubscription(channel, config)
	must(t, err)
	one := &subscription{Subscription: made}
	made.OnPublication(func(event centrifuge.PublicationEvent) { one.heard.add(string(event.Data)) })
	made.OnSubscribed(one.begun.add)
	made.OnSubscribing(func(event centrifuge.SubscribingEvent) { one.pauses.add(event.Code) })
	made.OnUnsubscribed(func(event centrifuge.UnsubscribedEvent) { one.ended.add(event.Code) })
	made.OnJoin(func(event centrifuge.JoinEvent) { one.comings.add(event.User + " came") })
	made.OnLeave(func(event centrifuge.LeaveEvent) { one.comings.add(event.User + " went") })
	must(t, made.Subscribe())
	return one
}

// hear is a subscription that has begun.
func (c *client) hear(t *testing.T, channel string) *subscription {
	t.Helper()
	one := c.listen(t, channel, centrifuge.SubscriptionConfig{})
	one.ready(t)
	return one
}

func (s *subscription) ready(t *testing.T) {
	t.Helper()
	until(t, "it subscribes", func() bool { return s.State() == centrifuge.SubStateSubscribed })
}

// ask is what a backend asks over the HTTP API.
func ask(t *testing.T, method string, body any) map[string]any {
	t.Helper()
	text, _ := json.Marshal(body)
	request, err := http.NewRequest("POST", edge.Internal+"/api/"+method, bytes.NewReader(text))
	must(t, err)
	request.Header.Set("X-API-Key", edge.Key)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	var answer struct{ Result, Error map[string]any }
	must(t, json.NewDecoder(response.Body).Decode(&answer))
	if answer.Error != nil {
		t.Fatalf("%s: %v", method, answer.Error)
	}
	return answer.Result
}

func publish(t *testing.T, channel string, data any) {
	t.Helper()
	ask(t, "publish", claims{"channel": channel, "data": data})
}

// proxy stands before an edge. `cut` breaks what goes through it, in the middle of the next chunk
// to the client.
type proxy struct {
	mutex sync.Mutex
	far   string
	pairs map[*pair]bool
	url   string
}

type pair struct{ isCut bool }

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	one := &proxy{pairs: map[*pair]bool{}, url: fmt.Sprintf("ws://%s%s", listener.Addr(), path)}
	one.lead(url)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go one.carry(near)
		}
	}()
	return one
}

// lead makes the proxy connect to another edge from now on.
func (p *proxy) lead(url string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.far = strings.TrimPrefix(url, "ws://")
}

func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for one := range p.pairs {
		one.isCut = true
	}
}

func (p *proxy) carry(near net.Conn) {
	defer near.Close()
	one := &pair{}
	p.mutex.Lock()
	address := p.far
	p.pairs[one] = true
	p.mutex.Unlock()
	defer func() {
		p.mutex.Lock()
		defer p.mutex.Unlock()
		delete(p.pairs, one)
	}()
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	go func() {
		io.Copy(far, near)
		far.Close()
	}()
	chunk := make([]byte, 1<<16)
	for {
		size, err := far.Read(chunk)
		if err != nil {
			return
		}
		p.mutex.Lock()
		isCut := one.isCut
		p.mutex.Unlock()
		if isCut {
			near.Write(chunk[:size/2])
			return
		}
		if _, err := near.Write(chunk[:size]); err != nil {
			return
		}
	}
}
