using System;
using System.Net.Http;
using System.Text;

class Publish
{
    static void Main()
    {
        var text = "{\"channel\": \"news\", \"data\": \"hello\"}";
        var body = new StringContent(text, Encoding.UTF8, "application/json");
        try
        {
            var answer = new HttpClient().PostAsync("http://127.0.0.1:9000/api/publish", body).Result;
            Console.WriteLine(answer.Content.ReadAsStringAsync().Result);
        }
        catch (AggregateException)
        {
            Console.WriteLine("nobody is at 127.0.0.1:9000");
        }
    }
}
