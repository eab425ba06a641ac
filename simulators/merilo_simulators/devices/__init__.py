"""Simulated devices: register images and messages made from vendor documents, with an encoder of their own."""
