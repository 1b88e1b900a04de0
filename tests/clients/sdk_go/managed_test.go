// The Go SDK against running edges: everything that a client may do, and what becomes of it when
// its connection breaks.

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/centrifugal/centrifuge-go"
)

func TestNothingIsLostOverBrokenConnections(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		const publications = 600
		channel, way, user := fresh(""), newProxy(t, edge.Websocket), fresh("u")
		through := connect(t, form, fresh("u"), way.url, centrifuge.Config{})
		thrown := join(t, form, user, centrifuge.Config{})
		ends := []*subscription{through.hear(t, channel), thrown.hear(t, channel)}
		wanted := []string{}
		for number := range publications {
			text := fmt.Sprintf(`"%d%s"`, number, strings.Repeat("x", number%500))
			wanted = append(wanted, text)
			publish(t, channel, json.RawMessage(text))
			if number%150 == 70 {
				way.cut()
			}
			if number%150 == 140 {
				disconnect(t, user, 4001)
			}
		}
		// Whatever was to come twice would have come before this.
		publish(t, channel, "the end")
		wanted = append(wanted, `"the end"`)
		for _, end := range ends {
			until(t, "the end comes", func() bool { return slices.Contains(end.heard.all(), `"the end"`) })
			same(t, end.heard.all(), wanted)
			begun := end.begun.all()
			if len(begun) < 3 {
				t.Fatalf("it subscribed %d times", len(begun))
			}
			for _, again := range begun[1:] {
				same(t, []bool{again.WasRecovering, again.Recovered}, []bool{true, true})
			}
		}
	})
}

func disconnect(t *testing.T, user string, code int) {
	t.Helper()
	goodbye := claims{"code": code, "reason": "go"}
	ask(t, "disconnect", claims{"user": user, "disconnect": goodbye})
}

func TestWhatIsForgottenIsNotRecovered(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		reader := join(t, form, "42", centrifuge.Config{})
		small := reader.hear(t, fresh("small:"))
		publish(t, small.Channel, 0)
		until(t, "the first comes", func() bool { return len(small.heard.all()) == 1 })
		must(t, small.Unsubscribe())
		// The edge knows, too: what it still sent would move the position.
		until(t, "it has left", func() bool {
			stats := ask(t, "presence_stats", claims{"channel": small.Channel})
			return stats["num_clients"] == 0.0
		})
		for number := range 3 {
			publish(t, small.Channel, number+1)
		}
		must(t, small.Subscribe())
		until(t, "it begins again", func() bool { return len(small.begun.all()) == 2 })
		again := small.begun.all()[1]
		same(t, []bool{again.WasRecovering, again.Recovered}, []bool{true, false})
		publish(t, small.Channel, 4)
		until(t, "the next comes", func() bool { return len(small.heard.all()) == 2 })
		same(t, small.heard.all(), []string{"0", "4"})
	})
}

func TestPresenceJoinsAndLeaves(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		channel, ctx := fresh(""), context.Background()
		known := token(claims{"sub": "ann", "info": claims{"name": "Ann"}})
		ann := join(t, form, "ann", centrifuge.Config{Token: known})
		first := ann.hear(t, channel)
		bob := join(t, form, "bob", centrifuge.Config{})
		second := bob.hear(t, channel)
		found, err := first.Presence(ctx)
		must(t, err)
		names := []string{}
		for _, one := range found.Clients {
			names = append(names, one.User+string(one.ConnInfo))
		}
		slices.Sort(names)
		same(t, names, []string{`ann{"name":"Ann"}`, "bob"})
		stats, err := second.PresenceStats(ctx)
		must(t, err)
		same(t, []int{stats.NumClients, stats.NumUsers}, []int{2, 2})
		must(t, bob.Disconnect())
		// Subscribers hear of themselves too.
		wanted := []string{"ann came", "bob came", "bob went"}
		until(t, "all are told", func() bool { return len(first.comings.all()) == len(wanted) })
		same(t, first.comings.all(), wanted)
	})
}

func TestHistoryComesInPages(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		ctx := context.Background()
		reader := join(t, form, "42", centrifuge.Config{})
		sub := reader.hear(t, fresh(""))
		read, wanted := []string{}, []string{}
		for number := range 25 {
			wanted = append(wanted, fmt.Sprint(number))
			_, err := sub.Publish(ctx, []byte(fmt.Sprint(number)))
			must(t, err)
		}
		since := &centrifuge.StreamPosition{}
		for {
			page, err := sub.History(
				ctx, centrifuge.WithHistoryLimit(10), centrifuge.WithHistorySince(since),
			)
			must(t, err)
			if len(page.Publications) == 0 {
				break
			}
			for _, publication := range page.Publications {
				read = append(read, string(publication.Data))
			}
			last := page.Publications[len(page.Publications)-1]
			since = &centrifuge.StreamPosition{Offset: last.Offset, Epoch: page.Epoch}
		}
		same(t, read, wanted)
		newest, err := sub.History(
			ctx, centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true),
		)
		must(t, err)
		offsets := []uint64{newest.Publications[0].Offset, newest.Publications[1].Offset}
		same(t, offsets, []uint64{25, 24})
		same(t, newest.Publications[0].Info.User, "42")
		foreign := &centrifuge.StreamPosition{Offset: 1, Epoch: "beef"}
		_, err = sub.History(
			ctx, centrifuge.WithHistoryLimit(1), centrifuge.WithHistorySince(foreign),
		)
		refused(t, err, 112)
	})
}

// refused says that a command was answered with this error.
func refused(t *testing.T, err error, code uint32) {
	t.Helper()
	var told *centrifuge.Error
	if !errors.As(err, &told) || told.Code != code {
		t.Fatalf("%v instead of error %d", err, code)
	}
}

func TestBothFormsHearEachOther(t *testing.T) {
	channel, ctx := fresh(""), context.Background()
	one := join(t, "json", "json", centrifuge.Config{}).hear(t, channel)
	other := join(t, "protobuf", "protobuf", centrifuge.Config{}).hear(t, channel)
	_, err := one.Publish(ctx, []byte(`{"from":"JSON"}`))
	must(t, err)
	until(t, "the first comes", func() bool { return len(other.heard.all()) == 1 })
	_, err = other.Publish(ctx, []byte{0xff, 0x00})
	must(t, err)
	ask(t, "broadcast", claims{"channels": []string{channel}, "data": 3})
	ends := []*subscription{one, other}
	for at, wanted := range []string{`"/wA="`, "\xff\x00"} {
		until(t, "all comes", func() bool { return len(ends[at].heard.all()) == 3 })
		same(t, ends[at].heard.all(), []string{`{"from":"JSON"}`, wanted, "3"})
	}
}

func TestTokensAreRenewedBeforeTheyEnd(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		channel := fresh("private:")
		var connections, subscriptions atomic.Int32
		reader := join(t, form, "42", centrifuge.Config{
			GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
				connections.Add(1)
				return token(claims{"sub": "42", "exp": inSeconds(2)}), nil
			},
		})
		sub := reader.listen(t, channel, centrifuge.SubscriptionConfig{
			GetToken: func(event centrifuge.SubscriptionTokenEvent) (string, error) {
				subscriptions.Add(1)
				content := claims{"sub": "42", "channel": event.Channel, "exp": inSeconds(2)}
				return token(content), nil
			},
		})
		sub.ready(t)
		until(t, "both are renewed twice", func() bool {
			return connections.Load() >= 3 && subscriptions.Load() >= 3
		})
		publish(t, channel, "still here")
		until(t, "it hears", func() bool { return len(sub.heard.all()) == 1 })
		// Each began once.
		same(t, []int{len(reader.connecting.all()), len(sub.pauses.all())}, []int{1, 1})
	})
}

func TestAnExpiredTokenIsReplaced(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		channel := fresh("private:")
		reader := join(t, form, "42", centrifuge.Config{
			Token: token(claims{"sub": "42", "exp": inSeconds(-5)}),
			GetToken: func(centrifuge.ConnectionTokenEvent) (string, error) {
				return token(claims{"sub": "42"}), nil
			},
		})
		sub := reader.listen(t, channel, centrifuge.SubscriptionConfig{
			Token: token(claims{"sub": "42", "channel": channel, "exp": inSeconds(-5)}),
			GetToken: func(centrifuge.SubscriptionTokenEvent) (string, error) {
				return token(claims{"sub": "42", "channel": channel}), nil
			},
		})
		sub.ready(t)
	})
}

func TestServerSideSubscriptionsRecover(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		granted, named, later, user := fresh(""), fresh("private:"), fresh(""), fresh("u")
		content := claims{
			"sub": user, "channels": []string{granted},
			"subs": claims{named: claims{"data": claims{"hello": 1}}},
		}
		reader := join(t, form, user, centrifuge.Config{Token: token(content)})
		until(t, "all begin", func() bool { return len(reader.subscribed.all()) == 3 })
		for _, one := range reader.subscribed.all() {
			same(t, string(one.Data), map[string]string{named: `{"hello":1}`}[one.Channel])
		}
		ask(t, "subscribe", claims{"user": user, "channel": later})
		until(t, "one more begins", func() bool { return len(reader.subscribed.all()) == 4 })
		all := []string{"#" + user, granted, named, later}
		for _, channel := range all {
			publish(t, channel, 1)
		}
		until(t, "all come", func() bool { return len(reader.heard.all()) == 4 })
		disconnect(t, user, 4001)
		for _, channel := range all[:3] {
			publish(t, channel, 2)
		}
		until(t, "what was missed comes", func() bool { return len(reader.heard.all()) == 7 })
		missed := reader.heard.all()[4:]
		slices.Sort(missed)
		wanted := []string{"#" + user + " 2", granted + " 2", named + " 2"}
		slices.Sort(wanted)
		same(t, missed, wanted)
		ask(t, "unsubscribe", claims{"user": user, "channel": granted})
		until(t, "one ends", func() bool { return slices.Contains(reader.unsubscribed.all(), granted) })
	})
}

func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		ctx := context.Background()
		reader := join(t, form, "42", centrifuge.Config{})
		_, err := reader.RPC(ctx, "any", []byte("{}"))
		refused(t, err, 108)
		_, err = reader.Publish(ctx, fresh("silent:"), []byte("1"))
		refused(t, err, 103)
		_, err = reader.Presence(ctx, fresh("silent:"))
		refused(t, err, 108)
		for channel, code := range map[string]uint32{"nowhere:1": 102, fresh("private:"): 103} {
			ended := reader.listen(t, channel, centrifuge.SubscriptionConfig{})
			until(t, "it ends", func() bool { return slices.Contains(ended.ended.all(), code) })
		}
	})
}

func TestCodesSayWhetherToComeBack(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		for code, comesBack := range map[int]bool{4001: true, 3010: true, 4500: false, 3503: false} {
			user := fresh("u")
			reader := join(t, form, user, centrifuge.Config{})
			disconnect(t, user, code)
			if comesBack {
				until(t, "it comes back", func() bool { return len(reader.connected.all()) == 2 })
				same(t, reader.connecting.all()[1], uint32(code))
				continue
			}
			until(t, "it stays away", func() bool { return reader.State() == "disconnected" })
			same(t, reader.disconnected.all(), []uint32{uint32(code)})
		}
	})
}

func TestWhoIsNotLetInStaysAway(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		getNothing := func(centrifuge.ConnectionTokenEvent) (string, error) {
			return "", centrifuge.ErrUnauthorized
		}
		strangers := map[uint32]centrifuge.Config{
			1:    {GetToken: getNothing},
			3500: {Token: "bad.token.here"},
		}
		for code, config := range strangers {
			one := connect(t, form, "", edge.Strict+path, config)
			until(t, "it gives up", func() bool { return slices.Contains(one.disconnected.all(), code) })
		}
	})
}

func TestTheOlderSessionGivesWayForGood(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		user := fresh("u")
		older := connect(t, form, user, edge.Strict+path, centrifuge.Config{})
		until(t, "it connects", func() bool { return len(older.connected.all()) == 1 })
		newer := connect(t, form, user, edge.Strict+path, centrifuge.Config{})
		until(t, "it gives way", func() bool { return slices.Contains(older.disconnected.all(), 4501) })
		until(t, "the newer is there", func() bool { return len(newer.connected.all()) == 1 })
		same(t, newer.disconnected.all(), []uint32{})
	})
}

func TestWhoIsTooFastIsToldSo(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		ctx := context.Background()
		one := connect(t, form, fresh("u"), edge.Strict+path, centrifuge.Config{})
		sub := one.hear(t, fresh(""))
		until(t, "it is too fast", func() bool {
			_, err := sub.Publish(ctx, []byte("1"))
			var told *centrifuge.Error
			if !errors.As(err, &told) {
				return false
			}
			same(t, fmt.Sprint(told.Code, told.Temporary), "111 true")
			return true
		})
		until(t, "it may again", func() bool {
			_, err := sub.Publish(ctx, []byte(`"last"`))
			return err == nil
		})
		until(t, "it hears", func() bool { return slices.Contains(sub.heard.all(), `"last"`) })
		same(t, len(one.connected.all()), 1)
	})
}

func TestAMessageThatIsTooLongCostsTheConnection(t *testing.T) {
	inBoth(t, func(t *testing.T, form string) {
		one := join(t, form, "42", centrifuge.Config{})
		sub := one.hear(t, fresh(""))
		long := []byte(`"` + strings.Repeat("x", 70_000) + `"`)
		if _, err := sub.Publish(context.Background(), long); err == nil {
			t.Fatal("it was published")
		}
		// This SDK connects again, with a code of its own.
		until(t, "it comes back", func() bool { return len(one.connected.all()) == 2 })
		same(t, one.connecting.all(), []uint32{0, 3})
	})
}

// Drains an edge, so it comes last and once.
func TestADrainSendsClientsElsewhere(t *testing.T) {
	channel, way := fresh(""), newProxy(t, edge.Leaving)
	moved := map[string]*client{}
	subs := map[string]*subscription{}
	for form := range forms {
		moved[form] = connect(t, form, fresh("u"), way.url, centrifuge.Config{})
		subs[form] = moved[form].hear(t, channel)
	}
	way.lead(edge.Websocket)
	must(t, syscall.Kill(edge.LeavingPid, syscall.SIGTERM))
	for form, sub := range subs {
		until(t, form+" subscribes elsewhere", func() bool { return len(sub.begun.all()) == 2 })
		same(t, len(moved[form].disconnected.all()), 0)
		again := sub.begun.all()[1]
		// Streams are a process's own: the client is told that it may have missed something.
		same(t, []bool{again.WasRecovering, again.Recovered}, []bool{true, false})
	}
	publish(t, channel, "here")
	for _, sub := range subs {
		until(t, "it hears", func() bool { return slices.Contains(sub.heard.all(), `"here"`) })
	}
}
