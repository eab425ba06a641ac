"""The domain of Merilo: words of the trade, decoding, ledger, meters. Pure: no sockets, files, clock, environment."""

__version__ = "0.1.0"
