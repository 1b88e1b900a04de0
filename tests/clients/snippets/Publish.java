import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMsg;

class Publish {
    public static void main(String[] arguments) {
        try (var context = new ZContext()) {
            context.setLinger(-1); // closing waits until the message has left
            var edge = context.createSocket(SocketType.PUSH);
            edge.connect("tcp://127.0.0.1:5560");
            ZMsg.newStringMsg("news", "hello").send(edge);
        }
    }
}
