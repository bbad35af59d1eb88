"""Boards as Amaranth knows them: pins and device. What is built for them is `hw.board.boards`."""
