package main

import zmq "github.com/pebbe/zmq4"

func main() {
	edge, _ := zmq.NewSocket(zmq.PUSH)
	edge.Connect("tcp://127.0.0.1:5560")
	edge.SendMessage("news", "hello")
	edge.Close()
	zmq.Term()
}
