"""Delta Studio: teach an open model from your own data, without code.

`python app.py` builds the app and serves it; a Hugging Face Space runs this file unchanged.
"""

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description="Delta Studio: teach an open model from your own data, without code.")
    parser.add_argument("--home", help="the studio's folder (default: ~/.delta-studio, or DELTA_STUDIO_HOME)")
    parser.add_argument("--port", type=int, help="the port to serve on (default: the first free one from 7860)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    asked = parser.parse_args()

    from studio.home import Home
    from studio.words import StudioError

    try:
        home = Home(asked.home)
    except StudioError as error:
        raise SystemExit(str(error)) from None

    from studio.jobs import client
    from studio.library import adapter_store
    from studio.store import Store
    from studio.ui.idle import Attention
    from studio.ui.launch import launch
    from studio.ui.window import build

    demo = build(home)
    launch(demo, port=asked.port, open_browser=asked.open, block=False)
    store = Store(home.database)
    adapter_store.repair(home, store)
    client.register_window(home)
    attention = Attention(demo, store)
    try:
        client.keep_supervisor(home, attention.tell)
    except KeyboardInterrupt:
        demo.close()


if __name__ == "__main__":
    main()
