use proptest::prelude::*;

use super::*;

#[test]
fn realistic_paths() {
    let table = [
        // Words, slugs, versions and file names stay.
        ("/", "/"),
        ("", ""),
        ("*", "*"),
        ("/healthz", "/healthz"),
        ("/api/v1/users", "/api/v1/users"),
        ("/api/1.0/users/", "/api/1.0/users/"),
        ("/v2beta1/things", "/v2beta1/things"),
        ("/index.html", "/index.html"),
        ("/static/js/app-3.2.1.js", "/static/js/app-3.2.1.js"),
        ("/jquery-3.6.0.min.js", "/jquery-3.6.0.min.js"),
        ("/fonts/inter.woff2", "/fonts/inter.woff2"),
        ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
        ("/blog/how-to-cook-rice", "/blog/how-to-cook-rice"),
        ("/docs/getUserByIdAndName", "/docs/getUserByIdAndName"),
        ("/com.lionpay.PaymentService/Authorize", "/com.lionpay.PaymentService/Authorize"),
        ("/ko-KR/products", "/ko-KR/products"),
        ("/phones/iphone15promax", "/phones/iphone15promax"),
        ("/search/%ED%95%9C%EA%B8%80", "/search/%ED%95%9C%EA%B8%80"),
        ("/cafe", "/cafe"),
        ("/deadbeef", "/deadbeef"),
        ("/internationalization", "/internationalization"),
        ("/characteristically-uncharacteristic", "/characteristically-uncharacteristic"),
        ("/oauth2/token", "/oauth2/token"),
        ("/s3/bucket", "/s3/bucket"),
        ("/actuator/prometheus", "/actuator/prometheus"),
        ("/a//b", "/a//b"),
        ("/npm/@angular/core", "/npm/@angular/core"),
        // Numbers.
        ("/users/42", "/users/{id}"),
        ("/users/42/orders/7", "/users/{id}/orders/{id}"),
        ("/users/7/", "/users/{id}/"),
        ("/pay/4111111111111111", "/pay/{id}"),
        ("/pay/4111-1111-1111-1111", "/pay/{id}-{id}-{id}-{id}"),
        ("/pay/4111%201111%201111%201111", "/pay/{id} {id} {id} {id}"),
        ("/offset/-12", "/offset/{id}"),
        ("/items/1,2,3", "/items/{id}"),
        ("/at/37.5665,126.9780", "/at/{id}"),
        ("/sku/SKU12345", "/sku/{id}"),
        ("/orders/order-12345", "/orders/order-{id}"),
        ("/orders/order-7", "/orders/order-{id}"),
        ("/orders/INV_000123", "/orders/INV_{id}"),
        ("/data/12345.json", "/data/{id}.json"),
        ("/cve/CVE-2024-12345", "/cve/CVE-2024-{id}"),
        ("/top-10-songs", "/top-10-songs"),
        ("/report-2024.pdf", "/report-{id}.pdf"),
        ("/report-2024-final.pdf", "/report-2024-final.pdf"),
        ("/files/dir%2F12345-x%2F", "/files/{token}"),
        // A placeholder, and an escaped brace at the end.
        ("/files/2254-10-x%3B3}", "/files/{token}"),
        // UUIDs, also in company.
        ("/o/550e8400-e29b-41d4-a716-446655440000", "/o/{uuid}"),
        ("/o/550E8400-E29B-41D4-A716-446655440000.pdf", "/o/{uuid}.pdf"),
        ("/o/user-550e8400-e29b-41d4-a716-446655440000-x", "/o/user-{uuid}-x"),
        // Hexadecimal.
        ("/commit/5f3a9c1b", "/commit/{hex}"),
        ("/commit/9fceb02d0ae598e95dc970b74767f19372d61af8", "/commit/{hex}"),
        ("/o/507f1f77bcf86cd799439011", "/o/{hex}"),
        ("/static/main.5f3a9c1b.js", "/static/main.{hex}.js"),
        ("/static/2.f5a1b2c3.chunk.js", "/static/2.{hex}.chunk.js"),
        (
            "/v2/x/blobs/sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            "/v2/x/blobs/{token}",
        ),
        ("/v2/x/blobs/md5:5d41402abc4b2a76b9719d911017c592", "/v2/x/blobs/md5:{hex}"),
        ("/mem/0x7ffe1234", "/mem/{hex}"),
        // Dates.
        ("/logs/2024-10-05", "/logs/{date}"),
        ("/logs/20241005", "/logs/{date}"),
        ("/logs/2024-10-05T12:34:56Z", "/logs/{date}"),
        ("/logs/2024-10-05T12%3A34%3A56%2B09%3A00", "/logs/{date}"),
        ("/logs/report-2024-10-05.pdf", "/logs/report-{date}.pdf"),
        ("/img/IMG_20241005_123456.jpg", "/img/IMG_{date}_{id}.jpg"),
        ("/logs/2024-13-05", "/logs/2024-13-{id}"),
        ("/blog/2024/10/my-post", "/blog/{id}/{id}/my-post"),
        // Addresses.
        ("/u/jane.doe@example.org", "/u/{email}"),
        ("/u/jane%40example.org", "/u/{email}"),
        ("/hosts/10.0.0.1", "/hosts/{ip}"),
        // Random strings.
        ("/v/dQw4w9WgXcQ", "/v/{token}"),
        ("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/u/{token}"),
        ("/c/cus_NffrFeUfNV2Hib", "/c/cus_{token}"),
        ("/p/pi_3MtwBwLkdIwHu7ix28a3tqPA", "/p/pi_{token}"),
        ("/n/V1StGXR8_Z5jdHi6B-myT", "/n/{token}"),
        ("/asin/B08N5WRWNW", "/asin/{token}"),
        ("/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N", "/t/{token}"),
        ("/login;jsessionid=1A2B3C4D5E6F", "/login"),
    ];
    for (path, route) in table {
        assert_eq!(route_of(path), route, "{path}");
    }
}

#[test]
fn long_segments_and_deep_paths_are_bounded() {
    assert_eq!(route_of(&format!("/a/{}", "word-".repeat(100))), "/a/{token}");
    assert_eq!(route_of("/a/b/c/d/e/f/g/h/i/j/k/l"), "/a/b/c/d/e/f/g/h/i/j/k/l");
    assert_eq!(route_of("/a/b/c/d/e/f/g/h/i/j/k/l/m/n"), "/a/b/c/d/e/f/g/h/i/j/k/l/*");
    assert!(route_of(&"/{x".repeat(5000)).len() < 200);
    assert!(route_of(&format!("/{{{}", "x".repeat(5000))).len() < 200);
}

fn segments() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,10}",
        "[0-9]{1,20}",
        "[a-f0-9]{6,40}",
        "[A-Za-z0-9_-]{1,30}",
        "[a-z0-9.]{1,20}",
        "[a-z]{1,6}[-_.:][0-9]{1,6}[-_.][a-zA-Z0-9]{1,12}",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9](T[0-9:]{0,8})?",
        "\\PC{0,40}",
        "%[0-9A-Fa-f]{2}[a-z%;{}]{0,10}",
        "([0-9]{1,6}[-_]){0,2}(%(2[fF]|3[bB]|7[bB]|25|0[0aA]|20)){1,2}[-a-z0-9_]{0,12}",
    ]
}

proptest! {
    #[test]
    fn the_route_of_a_route_is_itself(segments in proptest::collection::vec(segments(), 0..20)) {
        let route = route_of(&format!("/{}", segments.join("/")));
        prop_assert_eq!(route_of(&route), route);
    }

    #[test]
    fn routes_are_bounded(path in "\\PC{0,4000}") {
        // A replacement grows a segment by less than 16 bytes, and an unchanged one is at most 64 long.
        prop_assert!(route_of(&path).len() <= 12 * 82 + 2);
    }

    #[test]
    fn no_card_number_passes(number in "[3-6][0-9]{12,18}", word in "[a-z]{1,8}") {
        prop_assert_eq!(route_of(&format!("/{word}/{number}")), format!("/{word}/{{id}}"));
        let joined = route_of(&format!("/{word}-{number}"));
        prop_assert!(!joined.bytes().any(|byte| byte.is_ascii_digit()), "{}", joined);
    }
}
