<?php
$request = ["channel" => "news", "data" => "hello"];
$answer = @file_get_contents("http://127.0.0.1:9000/api/publish", false, stream_context_create([
    "http" => [
        "method" => "POST",
        "header" => "Content-Type: application/json",
        "content" => json_encode($request),
    ],
]));
exit($answer === false ? "nobody is at 127.0.0.1:9000\n" : "$answer\n");
