// Go's published client of the HTTP API against a running edge: all its methods, one command in a
// request and several.

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/centrifugal/centrifuge-go"
	"github.com/centrifugal/gocent/v3"
)

func backend(key string) *gocent.Client {
	client := gocent.New(gocent.Config{Addr: edge.Internal + "/api", Key: key})
	patience := *gocent.DefaultHTTPClient
	patience.Timeout = patient
	client.SetHTTPClient(&patience)
	return client
}

func TestTheGoClientOfTheAPIPublishesAndAsks(t *testing.T) {
	ctx, api := context.Background(), backend(edge.Key)
	channel, other := fresh(""), fresh("")
	one := join(t, "json", "42", centrifuge.Config{}).hear(t, channel)
	published, err := api.Publish(ctx, channel, []byte(`{"n":1}`))
	must(t, err)
	same(t, published.Offset, 1)
	_, err = api.Publish(ctx, channel, []byte(`{"n":2}`), gocent.WithSkipHistory(true))
	must(t, err)
	sent, err := api.Broadcast(ctx, []string{channel, other}, []byte("3"))
	must(t, err)
	same(t, []uint64{sent.Responses[0].Result.Offset, sent.Responses[1].Result.Offset}, []uint64{2, 1})
	until(t, "all come", func() bool { return len(one.heard.all()) == 3 })
	same(t, one.heard.all(), []string{`{"n":1}`, `{"n":2}`, "3"})

	history, err := api.History(ctx, channel, gocent.WithLimit(10), gocent.WithReverse(true))
	must(t, err)
	same(t, history.Epoch, published.Epoch)
	same(t, []string{string(history.Publications[0].Data), string(history.Publications[1].Data)},
		[]string{"3", `{"n":1}`})
	since := &gocent.StreamPosition{Offset: 1, Epoch: history.Epoch}
	history, err = api.History(ctx, channel, gocent.WithLimit(10), gocent.WithSince(since))
	must(t, err)
	same(t, len(history.Publications), 1)
	must(t, api.HistoryRemove(ctx, channel))
	history, err = api.History(ctx, channel, gocent.WithLimit(10))
	must(t, err)
	same(t, len(history.Publications), 0)

	presence, err := api.Presence(ctx, channel)
	must(t, err)
	for _, info := range presence.Presence {
		same(t, info.User, "42")
	}
	same(t, len(presence.Presence), 1)
	stats, err := api.PresenceStats(ctx, channel)
	must(t, err)
	same(t, []int32{stats.NumClients, stats.NumUsers}, []int32{1, 1})
	channels, err := api.Channels(ctx, gocent.WithPattern(channel))
	must(t, err)
	same(t, len(channels.Channels), 1)
	info, err := api.Info(ctx)
	must(t, err)
	same(t, len(info.Nodes), 1)
}

func TestTheGoClientOfTheAPIRulesConnections(t *testing.T) {
	ctx, api := context.Background(), backend(edge.Key)
	channel, user := fresh(""), fresh("u")
	one := join(t, "json", user, centrifuge.Config{})
	since := &gocent.StreamPosition{}
	must(t, api.Subscribe(ctx, channel, user,
		gocent.WithSubscribeInfo(json.RawMessage(`{"seat":7}`)),
		gocent.WithSubscribeData(json.RawMessage(`{"hello":1}`)),
		gocent.WithRecoverSince(since)))
	begun := func() []string {
		names := []string{}
		for _, event := range one.subscribed.all() {
			names = append(names, event.Channel+string(event.Data))
		}
		return names
	}
	until(t, "it begins", func() bool { return slices.Contains(begun(), channel+`{"hello":1}`) })
	presence, err := api.Presence(ctx, channel)
	must(t, err)
	for _, info := range presence.Presence {
		same(t, string(info.ChanInfo), `{"seat":7}`)
	}
	must(t, api.Unsubscribe(ctx, channel, user))
	until(t, "it ends", func() bool { return slices.Contains(one.unsubscribed.all(), channel) })

	stays := join(t, "json", user, centrifuge.Config{})
	kept := stays.connected.all()[0].ClientID
	goodbye := &gocent.Disconnect{Code: 4500, Reason: "signed out"}
	must(t, api.Disconnect(ctx, user,
		gocent.WithDisconnect(goodbye), gocent.WithDisconnectClientWhitelist([]string{kept})))
	until(t, "one goes", func() bool { return slices.Contains(one.disconnected.all(), 4500) })
	must(t, api.Disconnect(ctx, user, gocent.WithDisconnectClient(kept)))
	until(t, "both are gone", func() bool { return slices.Contains(stays.disconnected.all(), 3503) })
}

func TestTheGoClientOfTheAPISendsManyCommandsAtOnce(t *testing.T) {
	ctx, api := context.Background(), backend(edge.Key)
	pipe := api.Pipe()
	channel := fresh("")
	must(t, pipe.AddPublish(channel, []byte("1")))
	must(t, pipe.AddPublish("nowhere:1", []byte("2")))
	must(t, pipe.AddHistory(channel, gocent.WithLimit(1)))
	replies, err := api.SendPipe(ctx, pipe)
	must(t, err)
	same(t, len(replies), 3)
	same(t, replies[0].Error == nil && replies[2].Error == nil, true)
	same(t, replies[1].Error.Code, 102)
}

func TestTheGoClientOfTheAPINeedsTheKey(t *testing.T) {
	_, err := backend("a-key-that-is-wrong").Info(context.Background())
	var told gocent.ErrStatusCode
	if !errors.As(err, &told) || told.Code != 401 {
		t.Fatalf("%v instead of status 401", err)
	}
}
