package main

import (
	"fmt"

	"github.com/centrifugal/centrifuge-go"
)

func main() {
	url := "ws://127.0.0.1:8000/connection/websocket"
	client := centrifuge.NewProtobufClient(url, centrifuge.Config{})
	news, _ := client.NewSubscription("news")
	news.OnPublication(func(message centrifuge.PublicationEvent) { fmt.Println(string(message.Data)) })
	news.Subscribe()
	client.Connect()
	select {}
}
