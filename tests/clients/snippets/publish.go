package main

import (
	"log"
	"time"

	zmq "github.com/pebbe/zmq4"
)

func main() {
	edge, _ := zmq.NewSocket(zmq.PUSH)
	edge.SetImmediate(true)
	edge.SetSndtimeo(3 * time.Second)
	edge.Connect("tcp://127.0.0.1:5560")
	if _, err := edge.SendMessage("news", "hello"); err != nil {
		log.Fatal("nobody is at tcp://127.0.0.1:5560")
	}
	edge.Close()
	zmq.Term()
}
