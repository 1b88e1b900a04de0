import io.github.centrifugal.centrifuge.*;

class Listen {
    public static void main(String[] arguments) throws DuplicateSubscriptionException {
        var url = "ws://127.0.0.1:8000/connection/websocket";
        var client = new Client(url, new Options(), new EventListener() {});
        var news = client.newSubscription("news", new SubscriptionEventListener() {
            @Override
            public void onPublication(Subscription news, PublicationEvent message) {
                System.out.println(new String(message.getData()));
            }
        });
        news.subscribe();
        client.connect();
    }
}
