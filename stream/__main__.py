"""``burngate`` and ``python -m stream``: quiet on Ctrl-C before anything else is imported."""

from stream.interrupts import end_at_once


def main() -> None:
    """Run the command line and exit."""
    end_at_once()
    from stream.cli import main as run

    run()


if __name__ == "__main__":
    main()
