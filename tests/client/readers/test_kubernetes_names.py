"""Which paths show the namespace, the pod and the container of a log (docs/protocol.md, rule F47)."""

import pytest

from logferry.client.readers.kubernetes_names import kubernetes_fields

ID = "0123456789abcdef" * 4
SHOP = {"namespace": "shop", "pod": "cart-7f9.x", "container": "web-1"}


@pytest.mark.parametrize(
    "path",
    [
        "/var/log/pods/shop_cart-7f9.x_1f0e3c9a-22aa-4b1c-9c3f-0a1b2c3d4e5f/web-1/0.log",
        "/var/log/pods/shop_cart-7f9.x_b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5/web-1/12.log.20260304-111213",
        "/var/log/pods/shop_cart-7f9.x_1f0e/web-1/0.log.20260304-111213.gz",
        "/mnt/node/var/log/pods/shop_cart-7f9.x_1f0e/web-1/0.log",
        "pods/shop_cart-7f9.x_1f0e/web-1/0.log",
        f"/var/log/containers/cart-7f9.x_shop_web-1-{ID}.log",
        f"/var/log/containers/cart-7f9.x_shop_web-1-{ID}.log.1",
    ],
)
def test_the_names_of_the_kubelet_show_them(path: str) -> None:
    """Rule F47."""
    assert dict(kubernetes_fields(path)) == SHOP
    assert [name for name, _ in kubernetes_fields(path)] == ["namespace", "pod", "container"]


@pytest.mark.parametrize(
    "path",
    [
        "/var/log/app.log",
        "-",
        "",
        "/var/log/pods/shop_cart/web/0.log",
        "/var/log/pods/shop_cart_1f0e/0.log",
        "/var/log/pods/shop_cart_1f0e/web/deeper/0.log",
        "/var/log/pods/shop_c_a_1f0e/web/0.log",
        "/var/log/pods/Shop_cart_1f0e/web/0.log",
        "/var/log/pods/shop_cart_1f0e/web\n/0.log",
        "/var/log/mypods/shop_cart_1f0e/web/0.log",
        f"/var/log/containers/cart_shop_web-{ID[:-1]}.log",
        f"/var/log/containers/cart_shop_web-{ID}.txt",
        f"/var/log/containers/cart_shop_-{ID}.log",
        "/pods/" * 100_000,
    ],
)
def test_any_other_path_shows_nothing(path: str) -> None:
    """Rule F47."""
    assert kubernetes_fields(path) == []
