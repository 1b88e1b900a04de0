import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMsg;

class Publish {
    public static void main(String[] arguments) {
        try (var context = new ZContext()) {
            context.setLinger(-1); // closing waits until the message has left
            var edge = context.createSocket(SocketType.PUSH);
            edge.setImmediate(false); // no queue for nobody
            edge.setSendTimeOut(3000);
            edge.connect("tcp://127.0.0.1:5560");
            if (!ZMsg.newStringMsg("news", "hello").send(edge)) {
                System.err.println("nobody is at tcp://127.0.0.1:5560");
                System.exit(1);
            }
        }
    }
}
