//! Bodies of replies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::model::{
    ChannelName, ClientError, ClientId, ClientInfo, CommandError, Outcome, Position, Publication,
    Push,
};
use crate::protocol::centrifuge::is_json;
use crate::protocol::http_api::{Fault, Form};

/// `{"result": …}` or `{"error": …}`: the answer to a request or to a channel of a broadcast.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Body<T> {
    /// It was carried out.
    Result(T),
    /// It was not.
    Error(Fault),
}

/// What a request brought.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// The message was published.
    Published {
        /// Where it stands, if the channel has history.
        #[serde(flatten)]
        position: Option<Position>,
        /// How many sessions it reached.
        sessions: u64,
    },
    /// The message was published to several channels.
    Responses {
        /// What became of it in each channel, in the order of the request.
        responses: Vec<Body<Placed>>,
        /// How many sessions it reached in all of them.
        sessions: u64,
    },
    /// Connections were acted upon.
    Acted {
        /// How many.
        sessions: u64,
    },
    /// It is done, and there is nothing to tell.
    Done {},
    /// What a channel remembers.
    History {
        /// As asked for.
        #[serde(serialize_with = "each_publication")]
        publications: Vec<Arc<Push>>,
        /// Where the stream stands.
        #[serde(flatten)]
        position: Position,
    },
    /// Who is subscribed.
    Presence {
        /// Everybody, by connection.
        #[serde(serialize_with = "by_client")]
        presence: Vec<Arc<ClientInfo>>,
    },
    /// How many are subscribed.
    PresenceStats {
        /// Connections.
        num_clients: u32,
        /// Different users.
        num_users: u32,
    },
    /// Whether a user is there.
    UserStatus {
        /// The user.
        user: Box<str>,
        /// True exactly when there are sessions.
        online: bool,
        /// The sessions.
        sessions: Vec<Session>,
    },
    /// Channels that have subscribers.
    Channels {
        /// By name.
        #[serde(serialize_with = "by_name")]
        channels: Vec<(ChannelName, u32)>,
    },
    /// The nodes of the cluster, of which this is the only one.
    Info {
        /// This one.
        nodes: [Node; 1],
    },
}

/// Where a publication of a broadcast stands in one channel.
#[derive(Debug, Serialize)]
pub struct Placed {
    /// `None` if the channel has no history.
    #[serde(flatten)]
    position: Option<Position>,
}

/// One connection of a user.
#[derive(Debug, Serialize)]
pub struct Session {
    /// Its identity.
    pub client: ClientId,
    /// The device that it named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<str>>,
}

/// What an edge says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Another one after each start.
    pub uid: String,
    /// The name of the host.
    pub name: String,
    /// The version of tidegate.
    pub version: &'static str,
    /// Open connections.
    pub num_clients: u64,
    /// Users with a connection.
    pub num_users: u64,
    /// Subscriptions of all connections.
    pub num_subs: u64,
    /// Channels with subscribers, counted once for each shard that has some.
    pub num_channels: u64,
    /// Seconds since the start.
    pub uptime: u64,
    /// What it costs, where the kernel tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// What an edge costs its host.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Bytes of memory in RAM.
    pub rss: u64,
}

impl Reply {
    /// Leaves out half of the publications, the last ones. Returns whether there were several.
    pub fn shorten(&mut self) -> bool {
        let Self::History { publications, .. } = self else { return false };
        let count = publications.len();
        publications.truncate(count.div_ceil(2));
        count > 1
    }
}

impl Form {
    /// What the shards said becomes a reply. `channel` is the one that the command is about.
    pub fn reply(
        self,
        channel: Option<&ChannelName>,
        sessions: u64,
        outcome: Option<Outcome>,
        error: Option<CommandError>,
    ) -> Result<Reply, Fault> {
        match (&self, error) {
            (_, None) | (Self::Responses(_), _) => {}
            // A connection that is gone is acted upon as little as those of a user that is.
            (Self::Acted, Some(CommandError::UnknownClient)) => {
                return Ok(Reply::Acted { sessions: 0 });
            }
            (_, Some(error)) => return Err(Fault::of(error, channel)),
        }
        Ok(match (self, outcome) {
            (Self::Published, Some(Outcome::Published(channels))) => {
                let position = channels.first().and_then(|(_, position)| *position);
                Reply::Published { position, sessions }
            }
            (Self::Published, None) => Reply::Published { position: None, sessions },
            (Self::Responses(order), Some(Outcome::Published(channels))) => {
                Reply::Responses { responses: responses(&order, &channels, error), sessions }
            }
            (Self::Responses(order), None) => {
                Reply::Responses { responses: responses(&order, &[], error), sessions }
            }
            (Self::Acted, _) => Reply::Acted { sessions },
            (Self::Done, _) => Reply::Done {},
            (Self::History, Some(Outcome::History(publications, position))) => {
                Reply::History { publications, position }
            }
            (Self::Presence, Some(Outcome::Presence(presence))) => Reply::Presence { presence },
            (Self::PresenceStats, Some(Outcome::PresenceStats(num_clients, num_users))) => {
                Reply::PresenceStats { num_clients, num_users }
            }
            (Self::UserStatus(user), Some(Outcome::UserStatus(sessions))) => {
                let session = |(client, device)| Session { client, device };
                let online = !sessions.is_empty();
                let sessions = sessions.into_iter().map(session).collect();
                Reply::UserStatus { user, online, sessions }
            }
            (Self::Channels, Some(Outcome::Channels(channels))) => Reply::Channels { channels },
            _ => return Err(Fault::new(ClientError::Internal, "shards answered something else")),
        })
    }
}

/// If something went wrong, it did so in the channels to which nothing was published.
fn responses(
    order: &[ChannelName],
    published: &[(ChannelName, Option<Position>)],
    error: Option<CommandError>,
) -> Vec<Body<Placed>> {
    // As a rule something was published to all of them, and they are in order.
    if published.iter().map(|(channel, _)| channel).eq(order) {
        let placed = |(_, position): &(_, Option<Position>)| Placed { position: *position };
        return published.iter().map(placed).map(Body::Result).collect();
    }
    let published: HashMap<&ChannelName, Option<Position>> =
        published.iter().map(|(channel, position)| (channel, *position)).collect();
    let response = |channel| match (published.get(channel), error) {
        (None, Some(error)) => Body::Error(Fault::of(error, Some(channel))),
        (position, _) => Body::Result(Placed { position: position.copied().flatten() }),
    };
    order.iter().map(response).collect()
}

fn each_publication<S: Serializer>(
    publications: &[Arc<Push>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(publications.iter().filter_map(|push| {
        push.publication().map(|publication| Remembered::new(publication, push.offset()))
    }))
}

fn by_client<S: Serializer>(clients: &[Arc<ClientInfo>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(clients.iter().map(|info| (info.client, Named::new(info))))
}

fn by_name<S: Serializer>(
    channels: &[(ChannelName, u32)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Count {
        num_clients: u32,
    }
    let mut map = serializer.serialize_map(Some(channels.len()))?;
    for (name, count) in channels {
        map.serialize_entry(name.as_str(), &Count { num_clients: *count })?;
    }
    map.end()
}

/// One publication of a history.
#[derive(Serialize)]
struct Remembered<'a> {
    offset: u64,
    data: Data<'a>,
    /// The payload, if it is neither JSON nor text.
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Named<'a>>,
}

/// A payload in JSON: as it is if it is JSON that all clients can read, else as text if it is text.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    None(()),
}

impl<'a> Remembered<'a> {
    fn new(publication: &'a Publication, offset: u64) -> Self {
        let payload = publication.payload_bytes();
        let text =
            publication.is_text().then(|| simdutf8::basic::from_utf8(payload).ok()).flatten();
        let (data, b64data) = match text {
            None => (Data::None(()), Some(STANDARD.encode(payload))),
            Some(text) => {
                let json = is_json(text).then(|| serde_json::from_str(text).ok()).flatten();
                (json.map_or(Data::Text(text), Data::Json), None)
            }
        };
        let tags = publication.tags().iter().map(|(name, value)| (&**name, &**value)).collect();
        let info = publication.publisher().map(|info| Named::new(info));
        Self { offset, data, b64data, tags, info }
    }
}

/// A client as backends see it.
#[derive(Serialize)]
struct Named<'a> {
    client: ClientId,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn_info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chan_info: Option<&'a RawValue>,
}

impl<'a> Named<'a> {
    fn new(info: &'a ClientInfo) -> Self {
        let json = |text: &'a Option<Box<str>>| {
            text.as_deref().and_then(|text| serde_json::from_str(text).ok())
        };
        Self {
            client: info.client,
            user: &info.user,
            conn_info: json(&info.connection),
            chan_info: json(&info.channel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Epoch, NodeId, PushBody, ShardId};

    const POSITION: Position = Position { offset: 9, epoch: Epoch(0xab) };

    fn name(text: &str) -> ChannelName {
        ChannelName::parse(text.as_bytes()).unwrap()
    }

    fn reply(form: Form, outcome: Option<Outcome>) -> String {
        serde_json::to_string(&form.reply(None, 3, outcome, None).unwrap()).unwrap()
    }

    fn info(row: u32) -> Arc<ClientInfo> {
        let client = ClientId { node: NodeId(0), shard: ShardId(0), row, generation: 1 };
        let connection = Some(r#"{"name": "Ann"}"#.into());
        Arc::new(ClientInfo { client, user: "42".into(), connection, channel: None })
    }

    #[test]
    fn publications_have_a_place_where_there_is_history() {
        let published = |position| Some(Outcome::Published(vec![(name("a"), position)]));
        let with = r#"{"offset":9,"epoch":"ab","sessions":3}"#;
        assert_eq!(reply(Form::Published, published(Some(POSITION))), with);
        assert_eq!(reply(Form::Published, published(None)), r#"{"sessions":3}"#);
        assert_eq!(reply(Form::Published, None), r#"{"sessions":3}"#);
    }

    #[test]
    fn each_channel_of_a_broadcast_has_a_response() {
        let form = Form::Responses(vec![name("a"), name("b:1"), name("a"), name("c")]);
        let outcome = || Outcome::Published(vec![(name("c"), None), (name("a"), Some(POSITION))]);
        let error = Some(CommandError::UnknownNamespace);
        let some = form.clone().reply(None, 3, Some(outcome()), error).unwrap();
        let place = r#"{"result":{"offset":9,"epoch":"ab"}}"#;
        let cause = "unknown channel: add [namespaces.b] to the configuration";
        let failed = format!(r#"{{"error":{{"code":102,"message":"{cause}"}}}}"#);
        let expected =
            format!(r#"{{"responses":[{place},{failed},{place},{{"result":{{}}}}],"sessions":3}}"#);
        assert_eq!(serde_json::to_string(&some).unwrap(), expected);
        let expected = expected.replace(&failed, r#"{"result":{}}"#);
        assert_eq!(reply(form.clone(), Some(outcome())), expected);
        let none = serde_json::to_string(&form.reply(None, 0, None, error).unwrap()).unwrap();
        assert_eq!(none.matches("unknown channel: ").count(), 4);
    }

    #[test]
    fn history_shows_payloads_as_what_they_are() {
        let push = |publication: Publication, offset| {
            let body = PushBody::Publication { publication: Arc::new(publication), offset };
            Arc::new(Push::new(name("a"), body))
        };
        let json = Publication::new(true, br#"{"a": 1}"#, 0)
            .with_tags(vec![("t".into(), "1".into())])
            .with_publisher(info(1));
        let pushes = vec![
            push(json, 7),
            push(Publication::new(true, b"plain \"text\"", 0), 8),
            push(Publication::new(false, b"\xff", 0), 9),
            push(Publication::new(true, br#""\ud800""#, 0), 10),
        ];
        let named =
            r#"{"client":"0000000000000100000001","user":"42","conn_info":{"name": "Ann"}}"#;
        let expected = format!(
            concat!(
                r#"{{"publications":[{{"offset":7,"data":{{"a": 1}},"tags":{{"t":"1"}},"#,
                r#""info":{}}},{}],{}}}"#
            ),
            named,
            concat!(
                r#"{"offset":8,"data":"plain \"text\""},"#,
                r#"{"offset":9,"data":null,"b64data":"/w=="},{"offset":10,"data":"\"\\ud800\""}"#
            ),
            r#""offset":9,"epoch":"ab""#
        );
        assert_eq!(reply(Form::History, Some(Outcome::History(pushes, POSITION))), expected);
    }

    #[test]
    fn the_rest_of_the_replies() {
        let clients = vec![info(1), info(2)];
        let presence = reply(Form::Presence, Some(Outcome::Presence(clients)));
        let presence: serde_json::Value = serde_json::from_str(&presence).unwrap();
        let first = serde_json::json!({
            "client": "0000000000000100000001", "user": "42", "conn_info": {"name": "Ann"},
        });
        assert_eq!(presence["presence"]["0000000000000100000001"], first);
        assert_eq!(presence["presence"].as_object().unwrap().len(), 2);
        let stats = Some(Outcome::PresenceStats(5, 2));
        assert_eq!(reply(Form::PresenceStats, stats), r#"{"num_clients":5,"num_users":2}"#);
        let sessions = vec![(info(1).client, Some("phone".into())), (info(2).client, None)];
        let status = Some(Outcome::UserStatus(sessions));
        let expected = concat!(
            r#"{"user":"42","online":true,"sessions":[{"client":"0000000000000100000001","#,
            r#""device":"phone"},{"client":"0000000000000200000001"}]}"#
        );
        assert_eq!(reply(Form::UserStatus("42".into()), status), expected);
        let nobody = Some(Outcome::UserStatus(Vec::new()));
        let expected = r#"{"user":"42","online":false,"sessions":[]}"#;
        assert_eq!(reply(Form::UserStatus("42".into()), nobody), expected);
        let channels = Some(Outcome::Channels(vec![(name("a\"b"), 4)]));
        let expected = r#"{"channels":{"a\"b":{"num_clients":4}}}"#;
        assert_eq!(reply(Form::Channels, channels), expected);
        assert_eq!(reply(Form::Acted, None), r#"{"sessions":3}"#);
        assert_eq!(reply(Form::Done, None), "{}");
    }

    #[test]
    fn errors_of_shards_have_the_protocols_codes() {
        let code =
            |form: Form, error| form.reply(None, 0, None, Some(error)).unwrap_err().error.code();
        let position = CommandError::UnrecoverablePosition(Epoch(1));
        assert_eq!(code(Form::Published, CommandError::UnknownNamespace), 102);
        assert_eq!(code(Form::Acted, CommandError::ChannelLimit), 106);
        assert_eq!(code(Form::Channels, CommandError::TooLarge), 106);
        assert_eq!(code(Form::Presence, CommandError::NoPresence), 108);
        assert_eq!(code(Form::Done, CommandError::Draining), 111);
        assert_eq!(code(Form::History, position), 112);
        // Who is gone is nobody to act upon.
        let gone = Form::Acted.reply(None, 0, None, Some(CommandError::UnknownClient));
        assert!(matches!(gone, Ok(Reply::Acted { sessions: 0 })));
        let wrong = Form::History.reply(None, 0, Some(Outcome::PresenceStats(1, 1)), None);
        assert_eq!(wrong.unwrap_err().error.code(), 100);
    }
}
