// An upload as it really arrives: over a connection, refused while the client still sends.
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "async/run_task.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "server/blueprints/archive_importer.h"
#include "server/blueprints/file_blob_store.h"
#include "server/blueprints/test_archive.h"

namespace gs {
namespace {

using namespace gs::testing;

class ImportOverHttp : public ::testing::Test {
 protected:
  ImportOverHttp() {
    root_ = (std::filesystem::temp_directory_path() / fmt::format("gs-upload-{}", makeIdText("tst"))).string();
    importer_ = std::make_unique<ArchiveImporter>(FileBlobStore::open(root_).value(), clock_);
  }
  ~ImportOverHttp() override { std::filesystem::remove_all(root_); }

  // The answer's body: a manifest digest or a reason.
  Task<std::string> upload(std::string bytes) {
    auto server = startHttpServer(loop_.get_executor(), {}, [this](HttpRequest& request, BodyReader& body) { return handle(request, body); });
    HttpEndpoint endpoint;
    endpoint.host = "127.0.0.1";
    endpoint.port = (*server)->port();
    std::string answer;
    {
      const auto client = makeHttpClient(loop_.get_executor(), endpoint);
      HttpClientRequest request;
      request.method = "POST";
      request.body = std::move(bytes);
      const auto response = co_await client->send(std::move(request), Deadline::after(Millis(20'000)));
      answer = response ? response->body : response.error().describe();
    }
    co_await (*server)->stop();
    co_return answer;
  }
  Task<HttpResponse> handle(HttpRequest&, BodyReader& body) {
    const auto record = co_await importer_->import(body, {});
    HttpResponse response;
    response.body = record ? record->manifestDigest.text() : record.error().reason;
    co_return response;
  }

  asio::io_context loop_;
  SystemClock clock_;
  std::string root_;
  std::unique_ptr<ArchiveImporter> importer_;
};

TEST_F(ImportOverHttp, TakesAnArchiveOfSeveralMegabytes) {
  const auto image = imageOf({gzipLayer(tarOf({{"f", std::string(9 << 20, 'f')}})), plainLayer(tarOf({{"g", std::string(5 << 20, 'g')}}))});
  EXPECT_TRUE(runTask(loop_, upload(tarOf(ociEntries(image)))).starts_with("sha256:"));
}

TEST_F(ImportOverHttp, TellsTheReasonAlsoWhenTheBodyIsStillOnItsWay) {
  EXPECT_EQ(runTask(loop_, upload(std::string(16 << 20, 'x'))), "archive_not_an_image");
}

}  // namespace
}  // namespace gs
